"""The state of a run, and the checkpoints that bring it back bit for bit.

A checkpoint is a folder `step-NNNNNNNN` in the run folder, NNNNNNNN steps done. It is written under
another name and renamed when whole, so that a folder with this name is always complete; the latest
is the one with the highest number. It holds

    model.safetensors       the model's state dict, our own keys, whole tensors
    task.safetensors        what the task has beside the model; only where it has something
    optimizer.safetensors   PARAMETER.exp_avg, PARAMETER.exp_avg_sq, PARAMETER.step
    average.safetensors     the moving average of the weights; only where there is one
    state.json              steps done, recipe, place in the data, loss scale, random states of
                            every process, checksums, format

The learning rate is a function of the step and needs no state. How the loop uses them:

    folder = starting_point(recipe.output, world, resume=resume)    # None for a fresh run
    if folder:
        restore_checkpoint(state, folder)
    with CheckpointWriter() as checkpoints:                         # at its end all is written
        …
        checkpoints.check()                                         # every step: did a write fail?
        checkpoints.save(state)                                     # every process calls it
"""
