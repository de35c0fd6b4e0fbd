internal import CAttentionKernels

/// Rows of numbers as a tensor stores them.
struct StoredRows {
    let start: UnsafeRawPointer
    /// How far apart rows are, in elements.
    let stride: Int
    let type: ElementType

    /// The rows from one on.
    func dropFirst(_ count: Int) -> StoredRows {
        StoredRows(start: start + count * stride * type.byteCount, stride: stride, type: type)
    }
}

/// The C kernels for a few rows against many that are read as they are stored: what each does stands in
/// `CAttentionKernels.h`.
protocol StoredRowKernels: AttentionScalar {
    /// Whether the kernels convert numbers of this type as they read them.
    static func reads(_ type: ElementType) -> Bool
    /// `out[r, c] = Σ_k a[r, k] · b[c, k]`
    static func dotStored(
        _ out: UnsafeMutablePointer<Self>, _ outStride: Int, _ a: UnsafePointer<Self>, _ aStride: Int,
        _ b: StoredRows, _ rows: Int, _ columns: Int, _ depth: Int)
    /// `out[r, c] += Σ_k a[r, k] · b[k, c]`
    static func productAddStored(
        _ out: UnsafeMutablePointer<Self>, _ outStride: Int, _ a: UnsafePointer<Self>, _ aStride: Int,
        _ b: StoredRows, _ rows: Int, _ columns: Int, _ depth: Int)
}

extension Float: StoredRowKernels {
    static func reads(_ type: ElementType) -> Bool { kernelType(type) != nil }

    private static func kernelType(_ type: ElementType) -> sattn_weight_type? {
        switch type {
        case .float32: SATTN_FLOAT32
        case .float16: SATTN_FLOAT16
        case .bfloat16: SATTN_BFLOAT16
        default: nil
        }
    }

    static func dotStored(
        _ out: UnsafeMutablePointer<Float>, _ outStride: Int, _ a: UnsafePointer<Float>, _ aStride: Int,
        _ b: StoredRows, _ rows: Int, _ columns: Int, _ depth: Int
    ) {
        guard let type = kernelType(b.type) else { stop("No kernel reads \(b.type) as float32.") }
        Kernels.current.dot_stored(out, outStride, a, aStride, b.start, b.stride, type, rows, columns, depth)
    }

    static func productAddStored(
        _ out: UnsafeMutablePointer<Float>, _ outStride: Int, _ a: UnsafePointer<Float>, _ aStride: Int,
        _ b: StoredRows, _ rows: Int, _ columns: Int, _ depth: Int
    ) {
        guard let type = kernelType(b.type) else { stop("No kernel reads \(b.type) as float32.") }
        Kernels.current.product_add_stored(out, outStride, a, aStride, b.start, b.stride, type, rows, columns, depth)
    }
}

extension Double: StoredRowKernels {
    static func reads(_ type: ElementType) -> Bool { type == .float64 }

    static func dotStored(
        _ out: UnsafeMutablePointer<Double>, _ outStride: Int, _ a: UnsafePointer<Double>, _ aStride: Int,
        _ b: StoredRows, _ rows: Int, _ columns: Int, _ depth: Int
    ) {
        let start = b.start.assumingMemoryBound(to: Double.self)
        Kernels.float64.dot_rows(out, outStride, a, aStride, start, b.stride, rows, columns, depth)
    }

    static func productAddStored(
        _ out: UnsafeMutablePointer<Double>, _ outStride: Int, _ a: UnsafePointer<Double>, _ aStride: Int,
        _ b: StoredRows, _ rows: Int, _ columns: Int, _ depth: Int
    ) {
        let start = b.start.assumingMemoryBound(to: Double.self)
        Kernels.float64.product_add(out, outStride, a, aStride, start, b.stride, rows, columns, depth)
    }
}
