"""Wire to domain and back: pure functions and frozen records, no input or output, no clock, no globals."""
