"""The annex: parts of a state whose width is not fixed (design §4, §6): sets, counts of values, sketches, texts.

What a tile or a life holds of such a part is a *bag*: a few rows of float64 words with an associative, idempotent
`merge`, so that bags of events, tiles and windows merge alike, as accumulators do.
"""
