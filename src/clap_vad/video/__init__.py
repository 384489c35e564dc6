"""Pictures of a file, a folder of frames, a camera or a stream, and files made of pictures."""
