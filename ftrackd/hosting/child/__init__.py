"""What runs in a plugin process: the Session over the link, the lanes, the capture of output."""
