"""The node that speaks (tasks `indextts.*`): text becomes speech, sentence by sentence, in the voice, length and loudness asked
for.
"""
