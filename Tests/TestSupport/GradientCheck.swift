package import Attention

/// Compares the gradients of a function with central differences, in `Double`.
///
/// The loss is `Σ f(inputs) · r` for a fixed random `r`. A difference quotient `(f(x + h) - f(x - h)) / 2h` with
/// h = 6e-6, the cube root of the rounding error, is exact to about 1e-10 of the function's scale.
///
/// - Parameters:
///   - inputs: float64 tensors that the function is differentiated with respect to.
///   - tolerance: The largest difference, relative to the largest element of that input's gradient (and 1e-3 at least).
///   - seed: Of the weights `r`.
///   - function: Differentiable at the inputs.
/// - Returns: A sentence for each input whose gradient is wrong; none is well.
package func gradientProblems(
    of inputs: [Tensor], tolerance: Double = 1e-6, seed: UInt64 = 1, _ function: ([Tensor]) -> Tensor
) -> [String] {
    var generator = SeededGenerator(seed: seed)
    let tracked = inputs.map { $0.tracked() }
    let output = function(tracked)
    let weights = Tensor(
        (0..<output.elementCount).map { _ in Double.random(in: -1...1, using: &generator) }, shape: output.shape)
    let gradients = (output * weights).sum().gradients(of: tracked)
    func loss(_ inputs: [Tensor]) -> Double {
        zip(function(inputs).doubles, weights.doubles).reduce(0) { $0 + $1.0 * $1.1 }
    }
    var problems: [String] = []
    for (index, input) in inputs.enumerated() {
        let elements = input.doubles
        let gradient = gradients[index].doubles
        if gradients[index].elementType != .float64 { problems.append("The gradient of input \(index) is no float64.") }
        var differences: [Double] = []
        for place in elements.indices {
            let step = 6e-6 * max(1, abs(elements[place]))
            func shifted(by shift: Double) -> Double {
                var changed = elements
                changed[place] += shift
                var all = inputs
                all[index] = Tensor(changed, shape: input.shape)
                return loss(all)
            }
            differences.append((shifted(by: step) - shifted(by: -step)) / (2 * step))
        }
        let scale = max(1e-3, differences.map(abs).max() ?? 0)
        for place in elements.indices where !(abs(gradient[place] - differences[place]) <= tolerance * scale) {
            problems.append(
                "Input \(index), element \(place): the gradient is \(gradient[place]), the difference quotient "
                    + "\(differences[place]), of at most \(scale).")
            break
        }
    }
    return problems
}

extension SeededGenerator {
    /// Returns a float64 tensor of numbers from `-bound` to `bound`.
    package mutating func tensor(_ shape: [Int], bound: Double = 1) -> Tensor {
        Tensor(
            (0..<shape.reduce(1, *)).map { _ in Double.random(in: -bound...bound, using: &self) }, shape: shape)
    }
}
