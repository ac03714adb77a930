"""Networks of others: any segmentation ONNX becomes a model that every verb understands.

The user's graph stays as it is. What the project's models have in common is put around it: a uint8
frame and its normalisation in front, upsampling and argmax behind, a manifest beside it.
"""
