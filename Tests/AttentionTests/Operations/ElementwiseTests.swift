import TestSupport
import Testing

@testable import Attention

@Suite struct `Elementwise operations` {
    /// Shapes that broadcast to [61, 3, 137], more than one piece: short rows, long rows, spread out ones.
    private static let shapes = [[61, 3, 137], [3, 137], [137], [1], [], [61, 1, 137], [3, 1]]

    @Test(arguments: shapes)
    func `take every element of many pieces, of rows that repeat too`(shape: [Int]) {
        var generator = SeededGenerator(seed: 81)
        let x = generator.tensor([61, 3, 137], bound: 1).converted(to: .float32)
        let y = generator.tensor(shape, bound: 1).converted(to: .float32)
        let pairs = zip(x.floats, y.expanded(to: x.shape).floats)
        #expect((x + y).floats == pairs.map(+))
        #expect((x - y).floats == pairs.map(-))
        #expect((x * y).floats == pairs.map(*))
    }

    @Test func `scaling and adding in place take every element`() {
        var generator = SeededGenerator(seed: 82)
        let (x, y) = (generator.floats(50_021), generator.floats(50_021))
        let tensor = Tensor(x, shape: [50_021])
        #expect((tensor * 0.3).floats == x.map { $0 * 0.3 })
        var sum = tensor
        sum.add(Tensor(y, shape: [50_021]))
        #expect(sum.floats == zip(x, y).map(+))
        #expect(tensor.floats == x)
        #expect(abs(tensor.sum().doubles[0] - x.reduce(0.0) { $0 + Double($1) }) <= 1e-4)
    }

    @Test func `sums to the end of a shape add rows in order`() {
        var generator = SeededGenerator(seed: 83)
        let x = generator.tensor([29, 5, 131], bound: 1).converted(to: .float32)
        let numbers = x.floats
        let expected = (0..<131).map { column in (0..<29 * 5).reduce(Float(0)) { $0 + numbers[$1 * 131 + column] } }
        #expect(x.summed(to: [131]).floats == expected)
        #expect(x.summed(to: [5, 131]).summed(to: [1, 131]).shape == [1, 131])
        #expect(x.summed(to: [29, 1, 1]).shape == [29, 1, 1])
    }
}
