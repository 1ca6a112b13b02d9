"""Operations on media objects with a trained model: interpolate, sample, vary, restore, shift, embed."""
