"""The graph of channels: what a model computes, and which of its channels go together."""
