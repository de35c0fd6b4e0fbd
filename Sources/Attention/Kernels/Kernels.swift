internal import CAttentionKernels

/// The C kernels in use.
enum Kernels {
    /// The float32 kernels of this processor, or those that `ATTENTION_KERNELS` names.
    // Safe: a constant table of functions.
    nonisolated(unsafe) static let current: sattn_kernels = sattn_kernels_current().pointee
    /// The float64 kernels.
    nonisolated(unsafe) static let float64: sattn_kernels_float64 = sattn_kernels_float64_current().pointee
}

/// Which kernels the process runs, for `plan`, benchmarks and reports.
public enum KernelInfo {
    /// The instruction set: "scalar", "avx2", "avx512", "amx" or "neon".
    public static let name = String(cString: Kernels.current.name)

    /// What `ATTENTION_KERNELS` asked for in vain, if it did.
    public static let refusedName: String? = sattn_kernels_refused().map { String(cString: $0) }
}
