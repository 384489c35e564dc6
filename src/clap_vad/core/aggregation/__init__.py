"""From the participants' updates to the next global model."""
