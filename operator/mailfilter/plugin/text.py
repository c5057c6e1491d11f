"""Text for a terminal: whatever a mail says, none of it acts on the terminal."""


def line(text: str) -> str:
    """One line: control characters and marks that turn the direction are replaced."""
    return "".join(one if one.isprintable() else " " if one.isspace() else "\ufffd" for one in text)


def lines(text: str) -> str:
    """As `line`, but lines and tabs stay."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text.replace("\r\n", "\n"))
