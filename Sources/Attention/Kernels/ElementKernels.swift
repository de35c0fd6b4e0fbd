internal import CAttentionKernels

/// The C kernels of training, in `Float` and `Double`: what each does stands in `CAttentionKernels.h`.
///
/// Functions of elements are called as `(out, x, count)` and `(out, x, y, count)`; `out` may be an input. Those called
/// gradients are given the function's result (`tanh`, `sigmoid`) or its argument (the others), and the gradient.
protocol ElementKernels: AttentionScalar {
    /// How many columns a panel of `productPacked` has.
    static var tileColumns: Int { get }
    static func productPacked(
        _ out: UnsafeMutablePointer<Self>, _ outStride: Int, _ start: UnsafePointer<Self>?, _ startStride: Int,
        _ a: UnsafePointer<Self>, _ aStride: Int, _ panels: UnsafePointer<Self>, _ panelStride: Int, _ rows: Int,
        _ columns: Int, _ depth: Int)
    static func productTransposed(
        _ out: UnsafeMutablePointer<Self>, _ outStride: Int, _ start: UnsafePointer<Self>?, _ startStride: Int,
        _ a: UnsafePointer<Self>, _ aStride: Int, _ b: UnsafePointer<Self>, _ bStride: Int, _ rows: Int,
        _ columns: Int, _ depth: Int)
    static func transpose(
        _ out: UnsafeMutablePointer<Self>, _ outStride: Int, _ x: UnsafePointer<Self>, _ xStride: Int, _ rows: Int,
        _ columns: Int)

    static func tanh(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)
    static func sigmoid(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)
    static func relu(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)
    static func silu(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)
    static func gelu(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)
    static func geluTanh(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)

    static func tanhGradient(
        _ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>, _ count: Int)
    static func sigmoidGradient(
        _ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>, _ count: Int)
    static func reluGradient(
        _ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>, _ count: Int)
    static func siluGradient(
        _ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>, _ count: Int)
    static func geluGradient(
        _ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>, _ count: Int)
    static func geluTanhGradient(
        _ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>, _ count: Int)
    static func add(
        _ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>, _ count: Int)
    static func subtract(
        _ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>, _ count: Int)
    static func multiply(
        _ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>, _ count: Int)

    /// `sum[c] += Σ_r x[r, c]`
    static func columnSums(
        _ sum: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ xStride: Int, _ rows: Int, _ columns: Int)
    static func sumOfSquares(_ x: UnsafePointer<Self>, _ count: Int) -> Double
    static func adamStep(
        _ parameter: UnsafeMutablePointer<Self>, _ gradient: UnsafePointer<Self>, _ first: UnsafeMutablePointer<Self>,
        _ second: UnsafeMutablePointer<Self>, _ count: Int, _ step: AdamStep)
    static func momentumStep(
        _ parameter: UnsafeMutablePointer<Self>, _ gradient: UnsafePointer<Self>,
        _ velocity: UnsafeMutablePointer<Self>?, _ count: Int, _ step: GradientDescentStep)
}

extension Float: ElementKernels {
    static var tileColumns: Int { Kernels.current.tile_columns }

    static func productPacked(
        _ out: UnsafeMutablePointer<Float>, _ outStride: Int, _ start: UnsafePointer<Float>?, _ startStride: Int,
        _ a: UnsafePointer<Float>, _ aStride: Int, _ panels: UnsafePointer<Float>, _ panelStride: Int, _ rows: Int,
        _ columns: Int, _ depth: Int
    ) {
        Kernels.current.product_packed(
            out, outStride, start, startStride, a, aStride, panels, panelStride, rows, columns, depth)
    }

    static func productTransposed(
        _ out: UnsafeMutablePointer<Float>, _ outStride: Int, _ start: UnsafePointer<Float>?, _ startStride: Int,
        _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>, _ bStride: Int, _ rows: Int,
        _ columns: Int, _ depth: Int
    ) {
        Kernels.current.product_transposed(
            out, outStride, start, startStride, a, aStride, b, SATTN_FLOAT32, bStride, rows, columns, depth)
    }

    static func transpose(
        _ out: UnsafeMutablePointer<Float>, _ outStride: Int, _ x: UnsafePointer<Float>, _ xStride: Int, _ rows: Int,
        _ columns: Int
    ) {
        Kernels.current.transpose(out, outStride, x, xStride, rows, columns)
    }

    static func tanh(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.tanh(out, x, count)
    }

    static func sigmoid(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.sigmoid(out, x, count)
    }

    static func relu(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.relu(out, x, count)
    }

    static func silu(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.silu(out, x, count)
    }

    static func gelu(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.gelu(out, x, count)
    }

    static func geluTanh(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.gelu_tanh(out, x, count)
    }

    static func tanhGradient(
        _ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int
    ) {
        Kernels.current.tanh_gradient(out, x, y, count)
    }

    static func sigmoidGradient(
        _ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int
    ) {
        Kernels.current.sigmoid_gradient(out, x, y, count)
    }

    static func reluGradient(
        _ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int
    ) {
        Kernels.current.relu_gradient(out, x, y, count)
    }

    static func siluGradient(
        _ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int
    ) {
        Kernels.current.silu_gradient(out, x, y, count)
    }

    static func geluGradient(
        _ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int
    ) {
        Kernels.current.gelu_gradient(out, x, y, count)
    }

    static func geluTanhGradient(
        _ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int
    ) {
        Kernels.current.gelu_tanh_gradient(out, x, y, count)
    }

    static func add(
        _ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int
    ) {
        Kernels.current.add(out, x, y, count)
    }

    static func subtract(
        _ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int
    ) {
        Kernels.current.subtract(out, x, y, count)
    }

    static func multiply(
        _ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ count: Int
    ) {
        Kernels.current.multiply(out, x, y, count)
    }

    static func columnSums(
        _ sum: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ xStride: Int, _ rows: Int, _ columns: Int
    ) {
        Kernels.current.column_sums(sum, x, xStride, rows, columns)
    }

    static func sumOfSquares(_ x: UnsafePointer<Float>, _ count: Int) -> Double {
        Kernels.current.sum_of_squares(x, count)
    }

    static func adamStep(
        _ parameter: UnsafeMutablePointer<Float>, _ gradient: UnsafePointer<Float>,
        _ first: UnsafeMutablePointer<Float>,
        _ second: UnsafeMutablePointer<Float>, _ count: Int, _ step: AdamStep
    ) {
        var settings = sattn_adam(
            gradient_scale: Float(step.gradientScale), added_decay: Float(step.addedDecay), kept: Float(step.kept),
            first_share: Float(1 - step.beta1), second_kept: Float(step.beta2), second_share: Float(1 - step.beta2),
            step_size: Float(step.stepSize), inverse_root_correction: Float(step.inverseRootCorrection),
            epsilon: Float(step.epsilon))
        Kernels.current.adam_step(parameter, gradient, first, second, count, &settings)
    }

    static func momentumStep(
        _ parameter: UnsafeMutablePointer<Float>, _ gradient: UnsafePointer<Float>,
        _ velocity: UnsafeMutablePointer<Float>?, _ count: Int, _ step: GradientDescentStep
    ) {
        var settings = sattn_momentum(
            gradient_scale: Float(step.gradientScale), added_decay: Float(step.weightDecay),
            learning_rate: Float(step.learningRate), momentum: Float(step.momentum), is_nesterov: step.isNesterov)
        Kernels.current.momentum_step(parameter, gradient, velocity, count, &settings)
    }
}

extension Double: ElementKernels {
    static var tileColumns: Int { Kernels.float64.tile_columns }

    static func productPacked(
        _ out: UnsafeMutablePointer<Double>, _ outStride: Int, _ start: UnsafePointer<Double>?, _ startStride: Int,
        _ a: UnsafePointer<Double>, _ aStride: Int, _ panels: UnsafePointer<Double>, _ panelStride: Int, _ rows: Int,
        _ columns: Int, _ depth: Int
    ) {
        Kernels.float64.product_packed(
            out, outStride, start, startStride, a, aStride, panels, panelStride, rows, columns, depth)
    }

    static func productTransposed(
        _ out: UnsafeMutablePointer<Double>, _ outStride: Int, _ start: UnsafePointer<Double>?, _ startStride: Int,
        _ a: UnsafePointer<Double>, _ aStride: Int, _ b: UnsafePointer<Double>, _ bStride: Int, _ rows: Int,
        _ columns: Int, _ depth: Int
    ) {
        Kernels.float64.product_transposed(
            out, outStride, start, startStride, a, aStride, b, bStride, rows, columns, depth)
    }

    static func transpose(
        _ out: UnsafeMutablePointer<Double>, _ outStride: Int, _ x: UnsafePointer<Double>, _ xStride: Int, _ rows: Int,
        _ columns: Int
    ) {
        Kernels.float64.transpose(out, outStride, x, xStride, rows, columns)
    }

    static func tanh(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        Kernels.float64.tanh(out, x, count)
    }

    static func sigmoid(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        Kernels.float64.sigmoid(out, x, count)
    }

    static func relu(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        Kernels.float64.relu(out, x, count)
    }

    static func silu(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        Kernels.float64.silu(out, x, count)
    }

    static func gelu(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        Kernels.float64.gelu(out, x, count)
    }

    static func geluTanh(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        Kernels.float64.gelu_tanh(out, x, count)
    }

    static func tanhGradient(
        _ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int
    ) {
        Kernels.float64.tanh_gradient(out, x, y, count)
    }

    static func sigmoidGradient(
        _ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int
    ) {
        Kernels.float64.sigmoid_gradient(out, x, y, count)
    }

    static func reluGradient(
        _ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int
    ) {
        Kernels.float64.relu_gradient(out, x, y, count)
    }

    static func siluGradient(
        _ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int
    ) {
        Kernels.float64.silu_gradient(out, x, y, count)
    }

    static func geluGradient(
        _ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int
    ) {
        Kernels.float64.gelu_gradient(out, x, y, count)
    }

    static func geluTanhGradient(
        _ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int
    ) {
        Kernels.float64.gelu_tanh_gradient(out, x, y, count)
    }

    static func add(
        _ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int
    ) {
        Kernels.float64.add(out, x, y, count)
    }

    static func subtract(
        _ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int
    ) {
        Kernels.float64.subtract(out, x, y, count)
    }

    static func multiply(
        _ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int
    ) {
        Kernels.float64.multiply(out, x, y, count)
    }

    static func columnSums(
        _ sum: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ xStride: Int, _ rows: Int, _ columns: Int
    ) {
        Kernels.float64.column_sums(sum, x, xStride, rows, columns)
    }

    static func sumOfSquares(_ x: UnsafePointer<Double>, _ count: Int) -> Double {
        Kernels.float64.sum_of_squares(x, count)
    }

    static func adamStep(
        _ parameter: UnsafeMutablePointer<Double>, _ gradient: UnsafePointer<Double>,
        _ first: UnsafeMutablePointer<Double>,
        _ second: UnsafeMutablePointer<Double>, _ count: Int, _ step: AdamStep
    ) {
        var settings = sattn_adam_float64(
            gradient_scale: Double(step.gradientScale), added_decay: Double(step.addedDecay), kept: Double(step.kept),
            first_share: Double(1 - step.beta1), second_kept: Double(step.beta2), second_share: Double(1 - step.beta2),
            step_size: Double(step.stepSize), inverse_root_correction: Double(step.inverseRootCorrection),
            epsilon: Double(step.epsilon))
        Kernels.float64.adam_step(parameter, gradient, first, second, count, &settings)
    }

    static func momentumStep(
        _ parameter: UnsafeMutablePointer<Double>, _ gradient: UnsafePointer<Double>,
        _ velocity: UnsafeMutablePointer<Double>?, _ count: Int, _ step: GradientDescentStep
    ) {
        var settings = sattn_momentum_float64(
            gradient_scale: Double(step.gradientScale), added_decay: Double(step.weightDecay),
            learning_rate: Double(step.learningRate), momentum: Double(step.momentum), is_nesterov: step.isNesterov)
        Kernels.float64.momentum_step(parameter, gradient, velocity, count, &settings)
    }
}
