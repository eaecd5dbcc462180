"""The mechanism and what drives it: the layer loop, one side of a request, events and what they add up to."""
