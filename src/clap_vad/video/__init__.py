"""Reading frames from video files, frame folders, cameras and streams; writing video files."""
