"""A task is a model, a loss and the batch keys it needs: a batch goes in, named losses come out.

The training loop knows none of this: it adds the named losses up, whatever they are. Batches are
dicts of tensors on the model's device:

    image                    uint8  (B, 3, S, S)   one augmentation of each picture
    text                     int64  (B, T)         one ground-truth caption of each
    label                    int64  (B,)           class index of each, where shards store it
    synthetic_text           int64  (B, T)         one synthetic caption of each
    teacher_image.NAME       float  (B, D_k)       what teacher NAME says of that very augmentation
    teacher_text.NAME        float  (B, D_k)       … of that ground-truth caption
    teacher_synthetic.NAME   float  (B, D_k)       … of that synthetic caption

Conversations have keys of their own: `training/vision_language/task.py`. So have prompts and masks:
`training/sam_clip/task.py`.
"""
