import Attention
import ModelFiles

/// How far a result may be from the expected one: `|actual - expected| ≤ absolute + relative · |expected|`.
struct Tolerance {
    let relative: Double
    let absolute: Double

    /// Returns the tolerance, but at least two units in the last place of the element and of the output's largest.
    ///
    /// ONNX's runner takes two units of the element for bfloat16. The largest counts as well because ONNX rounds
    /// the scores and the weights too: where values of both signs cancel, their rounding is what remains.
    ///
    /// - Parameters:
    ///   - expected: The output that is expected.
    ///   - unit: The unit in the last place, at 1, of the type that ONNX computed it in.
    /// - Returns: The tolerance to compare with.
    func suited(to expected: Tensor, unit: Double) -> Tolerance {
        Tolerance(
            relative: max(relative, 2 * unit), absolute: max(absolute, 2 * unit * expected.largestMagnitude))
    }
}

/// Returns what is wrong with a result: `nil` if its shape is the expected one and every element is near enough.
///
/// The result is rounded to the type of the expected one first. NaN and ±∞ must be where they are expected, and
/// nowhere else.
func difference(of actual: Tensor, from expected: Tensor, within tolerance: Tolerance) -> String? {
    guard expected.elementType.isFloatingPoint, actual.elementType.isFloatingPoint else {
        return "holds \(actual.elementType), expected \(expected.elementType): only numbers are compared"
    }
    guard actual.shape == expected.shape else {
        return "has the shape \(actual.shape), expected \(expected.shape)"
    }
    var wrongCount = 0
    var worst: (excess: Double, text: String) = (-1, "")
    let pairs = zip(actual.converted(to: expected.elementType).doubles, expected.doubles)
    for (index, (actual, expected)) in pairs.enumerated() {
        if actual == expected || actual.isNaN && expected.isNaN { continue }
        let allowed = tolerance.absolute + tolerance.relative * abs(expected)
        let distance = abs(actual - expected)
        // An infinity has an infinite allowance; NaN compares false.
        if expected.isFinite && distance <= allowed { continue }
        wrongCount += 1
        let excess = distance.isFinite && expected.isFinite ? distance / allowed : .infinity
        if excess > worst.excess {
            worst = (excess, "\(actual) at \(index) in row-major order, expected \(expected) ± \(allowed)")
        }
    }
    return wrongCount == 0
        ? nil : "has \(wrongCount) wrong of \(expected.elementCount); the worst is \(worst.text)"
}

extension Tensor {
    /// The largest magnitude of an element below 10,000, beyond which numbers are added to scores to mask them.
    var largestMagnitude: Double {
        doubles.map(abs).filter { $0 < 10_000 }.max() ?? 0
    }

    /// Whether the tensor can be broadcast to a shape.
    func canBroadcast(to other: [Int]) -> Bool {
        rank <= other.count && zip(shape.reversed(), other.reversed()).allSatisfy { $0 == 1 || $0 == $1 }
    }

    /// Copies a tensor out of a file.
    ///
    /// - Parameters:
    ///   - tensor: The file's tensor.
    ///   - shape: The shape to give it, if the file does not hold it.
    /// - Throws: When the type is not one of the library's, or the shape has another number of elements.
    init(_ tensor: SafetensorsFile.Tensor, shape: [Int]? = nil) throws {
        let type: ElementType
        switch tensor.elementType {
        case .float64: type = .float64
        case .float32: type = .float32
        case .float16: type = .float16
        case .bfloat16: type = .bfloat16
        case .int64: type = .int64
        case .int32: type = .int32
        case .boolean: type = .bool
        default: throw ConformanceProblem("The tensor '\(tensor.name)' is \(tensor.elementType.rawValue).")
        }
        let shape = shape ?? tensor.shape
        guard shape.reduce(1, *) == tensor.elementCount else {
            throw ConformanceProblem(
                "The tensor '\(tensor.name)' of \(tensor.shape) is declared as \(shape).")
        }
        self = tensor.data.withUnsafeBytes { Tensor(copying: $0, shape: shape, elementType: type) }
    }
}
