"""Texts revised by somebody who cannot be trusted: a language model proposes, rules dispose. Pure: no model, no I/O, no times.

What a model is shown are lines with ids; what it may do is to propose other texts for these ids. Each proposal is judged by itself
and against its neighbours, and one that could do harm is refused: the text then stays as it was. Nothing here can change a
time, the
order or the number of cues, since none of it ever leaves the caller.
"""
