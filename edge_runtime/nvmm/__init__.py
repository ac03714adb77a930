"""Frames from NVMM memory into a TensorRT engine's input without passing through host memory.

An opt-in accelerator for Jetsons. **It was never executed on a Jetson**: layouts and calls follow
NVIDIA's published headers, of which none of JetPack 7 was at hand. So it trusts nothing: the
structures are checked before they are used, the first frames are compared with what the default way
gives, and whatever does not fit falls back to the default way with one line that says why.

What cannot run elsewhere is in `device` alone. The rest is tested on any machine: reading the
structures (`layout`), the cache of registrations (`registrations`), the kernel's text (`kernel`,
compiled as C), and when the bridge is trusted (`trust`).
"""
