internal import CAttentionKernels

/// The C kernels of the way back through attention, in `Float` and `Double`: what each does stands in
/// `CAttentionKernels.h`.
protocol AttentionGradientKernels: AttentionScalar {
    static func divideAndDot(
        _ out: UnsafeMutablePointer<Self>, _ dots: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ xStride: Int,
        _ y: UnsafePointer<Self>, _ yStride: Int, by divisors: UnsafePointer<Self>, _ rows: Int, _ columns: Int)
    static func softmaxWeights(
        _ x: UnsafeMutablePointer<Self>, _ rows: Int, _ columns: Int, factor: Self, shifts: UnsafePointer<Self>)
    static func scoreGradients(
        _ gradients: UnsafeMutablePointer<Self>, _ weights: UnsafePointer<Self>, _ rows: Int, _ columns: Int,
        deltas: UnsafePointer<Self>)
    static func keepBetween(
        _ x: UnsafeMutablePointer<Self>, _ rows: Int, _ columns: Int, _ begins: UnsafePointer<Int32>,
        _ ends: UnsafePointer<Int32>, hidden: Self)
    static func productGradient(_ tile: GradientOperands<Self>)
    static func squaredDistanceGradient(_ tile: GradientOperands<Self>)
    static func absoluteDistanceGradient(_ tile: GradientOperands<Self>)
    static func additiveGradient(_ tile: AdditiveGradientOperands<Self>)
    static func normalize(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)
    /// Writes `(x - mean) · factor · weight + bias`, and returns mean and factor, `1 / √(variance + epsilon)`.
    static func layerNorm(
        _ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ weight: UnsafePointer<Self>,
        _ bias: UnsafePointer<Self>?, _ count: Int, epsilon: Double
    ) -> (mean: Double, factor: Double)
}

/// The operands of a sum over score gradients: `out[r, c] += Σ_k op(gradients[r, k], a[r, c], b[k, c])`.
struct GradientOperands<Scalar> {
    let out: UnsafeMutablePointer<Scalar>
    let outStride: Int
    let gradients: UnsafePointer<Scalar>
    let rowStep: Int
    let depthStep: Int
    /// Not read by a product.
    let a: UnsafePointer<Scalar>
    let aStride: Int
    let b: UnsafePointer<Scalar>
    let bStride: Int
    let rows: Int
    let columns: Int
    let depth: Int
}

/// What `additive_gradient` takes.
struct AdditiveGradientOperands<Scalar> {
    let querySums: UnsafeMutablePointer<Scalar>
    let keySums: UnsafeMutablePointer<Scalar>
    let weightSums: UnsafeMutablePointer<Scalar>
    let gradients: UnsafePointer<Scalar>
    let queries: UnsafePointer<Scalar>
    let queryStride: Int
    let keys: UnsafePointer<Scalar>
    let keyStride: Int
    let queryCount: Int
    let keyCount: Int
    let featureCount: Int
}

extension Float: AttentionGradientKernels {
    static func divideAndDot(
        _ out: UnsafeMutablePointer<Float>, _ dots: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>,
        _ xStride: Int,
        _ y: UnsafePointer<Float>, _ yStride: Int, by divisors: UnsafePointer<Float>, _ rows: Int, _ columns: Int
    ) {
        Kernels.current.divide_and_dot(out, dots, x, xStride, y, yStride, divisors, rows, columns)
    }

    static func softmaxWeights(
        _ x: UnsafeMutablePointer<Float>, _ rows: Int, _ columns: Int, factor: Float, shifts: UnsafePointer<Float>
    ) {
        Kernels.current.softmax_weights(x, rows, columns, factor, shifts)
    }

    static func scoreGradients(
        _ gradients: UnsafeMutablePointer<Float>, _ weights: UnsafePointer<Float>, _ rows: Int, _ columns: Int,
        deltas: UnsafePointer<Float>
    ) {
        Kernels.current.score_gradients(gradients, weights, rows, columns, deltas)
    }

    static func keepBetween(
        _ x: UnsafeMutablePointer<Float>, _ rows: Int, _ columns: Int, _ begins: UnsafePointer<Int32>,
        _ ends: UnsafePointer<Int32>, hidden: Float
    ) {
        Kernels.current.keep_between(x, rows, columns, begins, ends, hidden)
    }

    static func productGradient(_ tile: GradientOperands<Float>) {
        Kernels.current.product_gradient(
            tile.out, tile.outStride, tile.gradients, tile.rowStep, tile.depthStep, tile.b, tile.bStride, tile.rows,
            tile.columns, tile.depth)
    }

    static func squaredDistanceGradient(_ tile: GradientOperands<Float>) {
        Kernels.current.squared_distance_gradient(
            tile.out, tile.outStride, tile.gradients, tile.rowStep, tile.depthStep, tile.a, tile.aStride, tile.b,
            tile.bStride, tile.rows, tile.columns, tile.depth)
    }

    static func absoluteDistanceGradient(_ tile: GradientOperands<Float>) {
        Kernels.current.absolute_distance_gradient(
            tile.out, tile.outStride, tile.gradients, tile.rowStep, tile.depthStep, tile.a, tile.aStride, tile.b,
            tile.bStride, tile.rows, tile.columns, tile.depth)
    }

    static func additiveGradient(_ tile: AdditiveGradientOperands<Float>) {
        Kernels.current.additive_gradient(
            tile.querySums, tile.keySums, tile.weightSums, tile.gradients, tile.queries, tile.queryStride, tile.keys,
            tile.keyStride, tile.queryCount, tile.keyCount, tile.featureCount)
    }

    static func normalize(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.normalize(out, x, count)
    }

    static func layerNorm(
        _ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ weight: UnsafePointer<Float>,
        _ bias: UnsafePointer<Float>?, _ count: Int, epsilon: Double
    ) -> (mean: Double, factor: Double) {
        var statistics = (mean: 0.0, factor: 0.0)
        withUnsafeMutableBytes(of: &statistics) {
            Kernels.current.layer_norm(
                out, x, weight, bias, count, epsilon, $0.baseAddress?.assumingMemoryBound(to: Double.self))
        }
        return statistics
    }
}

extension Double: AttentionGradientKernels {
    static func divideAndDot(
        _ out: UnsafeMutablePointer<Double>, _ dots: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>,
        _ xStride: Int,
        _ y: UnsafePointer<Double>, _ yStride: Int, by divisors: UnsafePointer<Double>, _ rows: Int, _ columns: Int
    ) {
        Kernels.float64.divide_and_dot(out, dots, x, xStride, y, yStride, divisors, rows, columns)
    }

    static func softmaxWeights(
        _ x: UnsafeMutablePointer<Double>, _ rows: Int, _ columns: Int, factor: Double, shifts: UnsafePointer<Double>
    ) {
        Kernels.float64.softmax_weights(x, rows, columns, factor, shifts)
    }

    static func scoreGradients(
        _ gradients: UnsafeMutablePointer<Double>, _ weights: UnsafePointer<Double>, _ rows: Int, _ columns: Int,
        deltas: UnsafePointer<Double>
    ) {
        Kernels.float64.score_gradients(gradients, weights, rows, columns, deltas)
    }

    static func keepBetween(
        _ x: UnsafeMutablePointer<Double>, _ rows: Int, _ columns: Int, _ begins: UnsafePointer<Int32>,
        _ ends: UnsafePointer<Int32>, hidden: Double
    ) {
        Kernels.float64.keep_between(x, rows, columns, begins, ends, hidden)
    }

    static func productGradient(_ tile: GradientOperands<Double>) {
        Kernels.float64.product_gradient(
            tile.out, tile.outStride, tile.gradients, tile.rowStep, tile.depthStep, tile.b, tile.bStride, tile.rows,
            tile.columns, tile.depth)
    }

    static func squaredDistanceGradient(_ tile: GradientOperands<Double>) {
        Kernels.float64.squared_distance_gradient(
            tile.out, tile.outStride, tile.gradients, tile.rowStep, tile.depthStep, tile.a, tile.aStride, tile.b,
            tile.bStride, tile.rows, tile.columns, tile.depth)
    }

    static func absoluteDistanceGradient(_ tile: GradientOperands<Double>) {
        Kernels.float64.absolute_distance_gradient(
            tile.out, tile.outStride, tile.gradients, tile.rowStep, tile.depthStep, tile.a, tile.aStride, tile.b,
            tile.bStride, tile.rows, tile.columns, tile.depth)
    }

    static func additiveGradient(_ tile: AdditiveGradientOperands<Double>) {
        Kernels.float64.additive_gradient(
            tile.querySums, tile.keySums, tile.weightSums, tile.gradients, tile.queries, tile.queryStride, tile.keys,
            tile.keyStride, tile.queryCount, tile.keyCount, tile.featureCount)
    }

    static func normalize(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        Kernels.float64.normalize(out, x, count)
    }

    static func layerNorm(
        _ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ weight: UnsafePointer<Double>,
        _ bias: UnsafePointer<Double>?, _ count: Int, epsilon: Double
    ) -> (mean: Double, factor: Double) {
        var statistics = (mean: 0.0, factor: 0.0)
        withUnsafeMutableBytes(of: &statistics) {
            Kernels.float64.layer_norm(
                out, x, weight, bias, count, epsilon, $0.baseAddress?.assumingMemoryBound(to: Double.self))
        }
        return statistics
    }
}
