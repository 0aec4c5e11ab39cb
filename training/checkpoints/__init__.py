"""The state of a run, and the checkpoints that bring it back bit for bit.

A checkpoint is a folder `step-NNNNNNNN` in the run folder, NNNNNNNN steps done. It is written under
another name and renamed when whole, so that a folder with this name is always complete; the latest
is the one with the highest number. It holds

    model.safetensors       the model's state dict, our own keys
    optimizer.safetensors   PARAMETER.exp_avg, PARAMETER.exp_avg_sq, PARAMETER.step
    state.json              steps done, recipe, place in the data, random states, format

The learning rate is a function of the step and needs no state.
"""
