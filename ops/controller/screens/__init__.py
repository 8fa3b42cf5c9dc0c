"""What a person asks a cluster about incidents, in lines of text made from stored objects. Pure."""
