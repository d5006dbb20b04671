"""Why there is no result. Messages are for whoever ran it, and say what to do if anything can be done."""


class CannotMeasure(Exception):
    """It cannot be measured here, or not this."""


class NotStarted(CannotMeasure):
    """A program ended before it was ready, or took too long."""


class NoPicture(Exception):
    """There are results, but no picture of them."""
