"""Data sets, the cache of decoded images, splits, augmentation, and the input pipeline.

Data flows one way: `loading.load_dataset` finds the images, `cache.load_images` decodes them once, `split.make_split`
parts them, and `pipeline` turns them into batches.
"""
