"""Images on their way to the network: decode, store, crop and augment them."""
