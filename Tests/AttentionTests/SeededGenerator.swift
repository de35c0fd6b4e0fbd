import Attention
import TestSupport

extension SeededGenerator {
    /// Returns numbers spread evenly over a range.
    mutating func numbers(_ count: Int, in range: ClosedRange<Double> = -2...2) -> [Double] {
        (0..<count).map { _ in
            range.lowerBound + Double(next() >> 11) * 0x1p-53 * (range.upperBound - range.lowerBound)
        }
    }

    /// Returns a tensor of numbers spread evenly over a range, rounded to the type.
    mutating func operand(
        _ shape: [Int], in range: ClosedRange<Double> = -2...2, as type: ElementType = .float32
    ) -> Tensor {
        Tensor(numbers(shape.reduce(1, *), in: range), shape: shape).converted(to: type)
    }

    /// Returns booleans of which about three in four are true.
    mutating func booleans(_ shape: [Int]) -> Tensor {
        Tensor((0..<shape.reduce(1, *)).map { _ in next() % 4 != 0 }, shape: shape)
    }
}
