"""Pure rendering of what the daemons read: a value of the resource becomes data, never syntax."""
