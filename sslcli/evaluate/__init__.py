"""Numbers from features, logits and labels."""
