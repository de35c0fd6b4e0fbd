internal import CAttentionKernels

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A number that scores are computed in: `Float` or `Double`.
public protocol AttentionScalar: BinaryFloatingPoint & Sendable {
    /// Returns eˣ.
    static func exp(_ x: Self) -> Self
    /// Returns the natural logarithm.
    static func log(_ x: Self) -> Self
    /// Returns the hyperbolic tangent.
    static func tanh(_ x: Self) -> Self
}

extension Float: AttentionScalar {
    /// Returns eˣ.
    public static func exp(_ x: Float) -> Float { expf(x) }
    /// Returns the natural logarithm.
    public static func log(_ x: Float) -> Float { logf(x) }
    /// Returns the hyperbolic tangent.
    public static func tanh(_ x: Float) -> Float { tanhf(x) }
}

extension Double: AttentionScalar {
    /// Returns eˣ.
    public static func exp(_ x: Double) -> Double { libraryExp(x) }
    /// Returns the natural logarithm.
    public static func log(_ x: Double) -> Double { libraryLog(x) }
    /// Returns the hyperbolic tangent.
    public static func tanh(_ x: Double) -> Double { libraryTanh(x) }
}

// Inside `Double` the static methods hide the C library's functions of the same name.
private func libraryExp(_ x: Double) -> Double { exp(x) }
private func libraryLog(_ x: Double) -> Double { log(x) }
private func libraryTanh(_ x: Double) -> Double { tanh(x) }

/// A tile kernel's operands: `out[r, c] = Σ_k op(a[r, k], b[k, c])`, or `b[c, k]` for `dotRows`.
struct TileOperands<Scalar> {
    let out: UnsafeMutablePointer<Scalar>
    let outStride: Int
    let a: UnsafePointer<Scalar>
    let aStride: Int
    let b: UnsafePointer<Scalar>
    let bStride: Int
    let rows: Int
    let columns: Int
    let depth: Int

    /// Calls a kernel with the operands.
    func run(
        _ kernel: (
            UnsafeMutablePointer<Scalar>, Int, UnsafePointer<Scalar>, Int, UnsafePointer<Scalar>, Int, Int, Int, Int
        )
            -> Void
    ) {
        kernel(out, outStride, a, aStride, b, bStride, rows, columns, depth)
    }
}

/// What is summed over the features where keys lie in panels.
enum PanelOperation {
    case product
    case squaredDistance
    case absoluteDistance

    fileprivate var kernel: sattn_score {
        switch self {
        case .product: SATTN_PRODUCT
        case .squaredDistance: SATTN_SQUARED_DISTANCE
        case .absoluteDistance: SATTN_ABSOLUTE_DISTANCE
        }
    }
}

/// A step of attention, as `attend` in `CAttentionKernels.h` takes it.
struct AttentionStep<Scalar> {
    let rows: Int
    let keys: Int
    let depth: Int
    let width: Int
    let queries: UnsafePointer<Scalar>
    let queryStride: Int
    /// `nil` where `scores` holds the scores.
    let panels: UnsafePointer<Scalar>?
    let operation: PanelOperation
    let scale: Scalar
    /// Which keys each query sees; `nil` is all of them.
    let begins: UnsafePointer<UInt32>?
    let ends: UnsafePointer<UInt32>?
    /// `nil` where only the weights are asked for.
    let values: UnsafePointer<Scalar>?
    let valueStride: Int
    let scores: UnsafeMutablePointer<Scalar>
    let scoreStride: Int
    let averages: UnsafeMutablePointer<Scalar>
    let maxima: UnsafeMutablePointer<Scalar>
    let sums: UnsafeMutablePointer<Scalar>
}

/// What the tiled operator asks of the C kernels, in `Float` and `Double`.
protocol KernelScalar: ElementKernels, RecurrentKernels, AttentionGradientKernels, StoredRowKernels {
    static var elementType: ElementType { get }
    static func attend(_ step: AttentionStep<Self>)
    static func encodeBFloat16(_ out: UnsafeMutablePointer<UInt16>, _ x: UnsafePointer<Self>, _ count: Int)
    /// `out[r, c] = x[r, c] / divisors[r]`
    static func divideRows(
        _ out: UnsafeMutablePointer<Self>, _ outStride: Int, _ x: UnsafePointer<Self>, _ xStride: Int,
        by divisors: UnsafePointer<Self>, _ rows: Int, _ columns: Int)
    static func product(_ tile: TileOperands<Self>)
    static func productAdd(_ tile: TileOperands<Self>)
    static func squaredDistance(_ tile: TileOperands<Self>)
    static func absoluteDistance(_ tile: TileOperands<Self>)
    static func additive(_ tile: TileOperands<Self>, weights: UnsafePointer<Self>)
    static func dotRows(_ tile: TileOperands<Self>)
    static func maximum(_ x: UnsafePointer<Self>, _ count: Int) -> Self
    static func expSum(_ x: UnsafeMutablePointer<Self>, _ count: Int, shift: Self) -> Self
    static func scale(_ x: UnsafeMutablePointer<Self>, _ count: Int, by factor: Self)
    static func softCap(_ x: UnsafeMutablePointer<Self>, _ count: Int, cap: Self)
}

extension Float: KernelScalar {
    static var elementType: ElementType { .float32 }

    static func attend(_ step: AttentionStep<Float>) {
        var tile = sattn_attention_tile(
            rows: step.rows, keys: step.keys, depth: step.depth, width: step.width, queries: step.queries,
            query_stride: step.queryStride, panels: step.panels,
            operation: step.operation.kernel, scale: step.scale, begins: step.begins, ends: step.ends,
            values: step.values, value_stride: step.valueStride, scores: step.scores,
            score_stride: step.scoreStride, averages: step.averages, maxima: step.maxima, sums: step.sums)
        Kernels.current.attend(&tile)
    }

    static func encodeBFloat16(_ out: UnsafeMutablePointer<UInt16>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.encode_bfloat16(out, x, count)
    }

    static func divideRows(
        _ out: UnsafeMutablePointer<Float>, _ outStride: Int, _ x: UnsafePointer<Float>, _ xStride: Int,
        by divisors: UnsafePointer<Float>, _ rows: Int, _ columns: Int
    ) {
        Kernels.current.divide_rows(out, outStride, x, xStride, divisors, rows, columns)
    }

    static func product(_ tile: TileOperands<Float>) { tile.run(Kernels.current.product) }

    static func productAdd(_ tile: TileOperands<Float>) { tile.run(Kernels.current.product_add) }

    static func squaredDistance(_ tile: TileOperands<Float>) { tile.run(Kernels.current.squared_distance) }

    static func absoluteDistance(_ tile: TileOperands<Float>) { tile.run(Kernels.current.absolute_distance) }

    static func dotRows(_ tile: TileOperands<Float>) { tile.run(Kernels.current.dot_rows) }

    static func additive(_ tile: TileOperands<Float>, weights: UnsafePointer<Float>) {
        Kernels.current.additive(
            tile.out, tile.outStride, tile.a, tile.aStride, tile.b, tile.bStride, tile.rows, tile.columns,
            tile.depth, weights)
    }

    static func maximum(_ x: UnsafePointer<Float>, _ count: Int) -> Float {
        Kernels.current.maximum(x, count)
    }

    static func expSum(_ x: UnsafeMutablePointer<Float>, _ count: Int, shift: Float) -> Float {
        Kernels.current.exp_sum(x, count, shift)
    }

    static func scale(_ x: UnsafeMutablePointer<Float>, _ count: Int, by factor: Float) {
        Kernels.current.scale(x, count, factor)
    }

    static func softCap(_ x: UnsafeMutablePointer<Float>, _ count: Int, cap: Float) {
        Kernels.current.soft_cap(x, count, cap)
    }
}

extension Double: KernelScalar {
    static var elementType: ElementType { .float64 }

    static func attend(_ step: AttentionStep<Double>) {
        var tile = sattn_attention_tile_float64(
            rows: step.rows, keys: step.keys, depth: step.depth, width: step.width, queries: step.queries,
            query_stride: step.queryStride, panels: step.panels,
            operation: step.operation.kernel, scale: step.scale, begins: step.begins, ends: step.ends,
            values: step.values, value_stride: step.valueStride, scores: step.scores,
            score_stride: step.scoreStride, averages: step.averages, maxima: step.maxima, sums: step.sums)
        Kernels.float64.attend(&tile)
    }

    static func encodeBFloat16(_ out: UnsafeMutablePointer<UInt16>, _ x: UnsafePointer<Double>, _ count: Int) {
        for index in 0..<count { out[index] = BFloat16(Float(x[index])).bitPattern }
    }

    static func divideRows(
        _ out: UnsafeMutablePointer<Double>, _ outStride: Int, _ x: UnsafePointer<Double>, _ xStride: Int,
        by divisors: UnsafePointer<Double>, _ rows: Int, _ columns: Int
    ) {
        Kernels.float64.divide_rows(out, outStride, x, xStride, divisors, rows, columns)
    }

    static func product(_ tile: TileOperands<Double>) { tile.run(Kernels.float64.product) }

    static func productAdd(_ tile: TileOperands<Double>) { tile.run(Kernels.float64.product_add) }

    static func squaredDistance(_ tile: TileOperands<Double>) { tile.run(Kernels.float64.squared_distance) }

    static func absoluteDistance(_ tile: TileOperands<Double>) { tile.run(Kernels.float64.absolute_distance) }

    static func dotRows(_ tile: TileOperands<Double>) { tile.run(Kernels.float64.dot_rows) }

    static func additive(_ tile: TileOperands<Double>, weights: UnsafePointer<Double>) {
        Kernels.float64.additive(
            tile.out, tile.outStride, tile.a, tile.aStride, tile.b, tile.bStride, tile.rows, tile.columns,
            tile.depth, weights)
    }

    static func maximum(_ x: UnsafePointer<Double>, _ count: Int) -> Double {
        Kernels.float64.maximum(x, count)
    }

    static func expSum(_ x: UnsafeMutablePointer<Double>, _ count: Int, shift: Double) -> Double {
        Kernels.float64.exp_sum(x, count, shift)
    }

    static func scale(_ x: UnsafeMutablePointer<Double>, _ count: Int, by factor: Double) {
        Kernels.float64.scale(x, count, factor)
    }

    static func softCap(_ x: UnsafeMutablePointer<Double>, _ count: Int, cap: Double) {
        Kernels.float64.soft_cap(x, count, cap)
    }
}
