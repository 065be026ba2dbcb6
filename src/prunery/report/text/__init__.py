"""Tables, captions and sentences, as text and as files."""
