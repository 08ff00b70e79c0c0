"""Operations that torch does not have, as torch operators: they differentiate, compile, autocast and count their FLOPs.

Each is written once in plain PyTorch, for any device. A kernel written for one device takes the place of that formula there:

    library = torch.library.Library("posekit", "IMPL")
    library.impl("modulated_deform_conv2d", kernel, "CUDA")
    library.impl("modulated_deform_conv2d_backward", backward_kernel, "CUDA")

What a kernel may rely on: the operator's schema; shapes and types that were checked before the operator is called; the shape,
type and strides of the registered fake are what it must return. Derivatives, autocast and compilation stay with the operator.
"""
