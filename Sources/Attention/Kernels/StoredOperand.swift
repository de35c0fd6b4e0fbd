internal import CAttentionKernels

/// Weights `[rows, columns]` stored as float32, float16 or bfloat16, of any alignment, as the right side of `x Wᵀ`.
///
/// They are converted in registers as they are packed, or multiplied by: no float32 copy of the whole is made.
struct StoredOperand: RightOperand {
    let start: UnsafeRawPointer
    let type: sattn_weight_type
    /// How far apart rows of weights, which are columns of the product's right side, are, in elements.
    let stride: Int

    private var byteCount: Int { type == SATTN_FLOAT32 ? 4 : 2 }

    var isTransposed: Bool { true }

    func dropping(columns: Int) -> StoredOperand {
        StoredOperand(start: start + columns * stride * byteCount, type: type, stride: stride)
    }

    func pack(_ k: Range<Int>, _ n: Range<Int>, into panel: UnsafeMutablePointer<Float>) {
        Kernels.current.transpose_stored(
            panel, Float.tileColumns, start + (n.lowerBound * stride + k.lowerBound) * byteCount, type, stride, n.count,
            k.count)
    }

    func multiplyAsItLies(
        _ a: UnsafePointer<Float>, _ aStride: Int, rows: Int, columns: Int, depth: Int,
        into out: UnsafeMutablePointer<Float>, _ outStride: Int, start: UnsafePointer<Float>?, _ startStride: Int
    ) {
        Kernels.current.product_transposed(
            out, outStride, start, startStride, a, aStride, self.start, type, stride, rows, columns, depth)
    }
}
