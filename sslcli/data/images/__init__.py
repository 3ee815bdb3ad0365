"""Images on their way to the network: decoding, keeping, cutting and changing them."""
