import Attention
import TestSupport
import Testing

@Suite struct `Gradients of operations` {
    @Test(
        arguments: [
            ("relu", relu), ("tanh", tanh), ("sigmoid", sigmoid), ("gelu", gelu), ("geluTanh", geluTanh),
            ("silu", silu),
        ] as [(String, @Sendable (Tensor) -> Tensor)])
    func `activations`(name: String, activation: @Sendable (Tensor) -> Tensor) {
        var generator = SeededGenerator(seed: 11)
        let x = generator.tensor([3, 5, 7], bound: 4)
        #expect(gradientProblems(of: [x]) { activation($0[0]) } == [])
        #expect(gradientProblems(of: [x]) { activation($0[0].transposed(0, 2)) } == [])
        // In float32 the derivative is computed by other code.
        let (double, single) = (x.tracked(), x.converted(to: .float32).tracked())
        let seed = generator.tensor([3, 5, 7])
        let expected = activation(double).gradients(of: [double], seed: seed)[0].doubles
        let actual = activation(single).gradients(of: [single], seed: seed.converted(to: .float32))[0]
        #expect(actual.elementType == .float32)
        expectNear(actual, expected, within: 1e-6)
    }

    @Test(
        arguments: [
            ("relu", relu), ("tanh", tanh), ("sigmoid", sigmoid), ("gelu", gelu), ("geluTanh", geluTanh),
            ("silu", silu),
        ] as [(String, @Sendable (Tensor) -> Tensor)])
    func `activations are 0 or 1 far out, never NaN`(name: String, activation: @Sendable (Tensor) -> Tensor) {
        for type in [ElementType.float32, .float64] {
            let x = Tensor([-1e30, -1000, 1000, 1e30, -.infinity, .infinity] as [Double], shape: [6])
                .converted(to: type).tracked()
            let gradient = activation(x).sum().gradients(of: [x])[0].doubles
            let saturates = name == "tanh" || name == "sigmoid"
            #expect(gradient == (saturates ? [0, 0, 0, 0, 0, 0] : [0, 0, 1, 1, 0, 1]), "\(name) of \(type)")
        }
    }

    @Test(arguments: [-1, -2, 0])
    func `norms, of rows and of whole blocks`(axis: Int) {
        var generator = SeededGenerator(seed: 12)
        // More rows than a block has, so that the sums over blocks count.
        let x = generator.tensor(axis == -1 ? [37, 2, 7] : [5, 3, 7], bound: 3)
        let shape = Array(x.shape.suffix(axis < 0 ? -axis : 3))
        let (weight, bias) = (generator.tensor(shape), generator.tensor(shape))
        #expect(
            gradientProblems(of: [x, weight, bias]) {
                layerNorm($0[0], weight: $0[1], bias: $0[2], axis: axis, epsilon: 1e-3)
            } == [])
        #expect(gradientProblems(of: [x, weight]) { layerNorm($0[0], weight: $0[1], axis: axis) } == [])
        #expect(gradientProblems(of: [x, weight]) { rmsNorm($0[0], weight: $0[1], axis: axis) } == [])
    }

    @Test func `norms with a weight for all`() {
        var generator = SeededGenerator(seed: 13)
        let (x, weight, bias) = (generator.tensor([3, 5]), generator.tensor([1]), generator.tensor([]))
        #expect(gradientProblems(of: [x, weight, bias]) { layerNorm($0[0], weight: $0[1], bias: $0[2]) } == [])
        #expect(gradientProblems(of: [x, weight]) { rmsNorm($0[0], weight: $0[1]) } == [])
        let empty = Tensor(zeros: [0, 3]).tracked()
        let ones = Tensor(filledWith: 1, shape: [3]).tracked()
        #expect(layerNorm(empty, weight: ones).sum().gradients(of: [ones])[0].floats == [0, 0, 0])
    }

    @Test(arguments: [0, 1, 2])
    func `softmax along every dimension`(axis: Int) {
        var generator = SeededGenerator(seed: 14)
        let x = generator.tensor([3, 5, 7], bound: 3)
        #expect(gradientProblems(of: [x]) { softmax($0[0], axis: axis) } == [])
    }

    @Test func `softmax of what is masked are zeros`() {
        let x = Tensor([-.infinity, -.infinity, 1, -.infinity, 2, 3] as [Double], shape: [3, 2]).tracked()
        let gradient = softmax(x).gradients(of: [x], seed: Tensor([5, 7, 5, 7, 5, 7] as [Double], shape: [3, 2]))[0]
        #expect(gradient.doubles.prefix(4).allSatisfy { $0 == 0 })
        #expect(gradient.doubles.allSatisfy { $0.isFinite } && gradient.doubles[4] < 0)
    }

    @Test(arguments: [RotaryEmbedding.Layout.half, .interleaved])
    func `rotation`(layout: RotaryEmbedding.Layout) {
        var generator = SeededGenerator(seed: 15)
        let x = generator.tensor([2, 3, 5, 10])
        let rotary = RotaryEmbedding(dimension: 6, base: 100, layout: layout)
        for positions in [[[0, 1, 2, 3, 4], [7, 5, 11, 2, 3]], [[3, 4, 5, 6, 7], [3, 4, 5, 6, 7]]] {
            #expect(gradientProblems(of: [x]) { rotary($0[0], positions: positions) } == [])
        }
    }

    @Test func `an embedding's look-up, of repeated and of unused rows`() {
        var generator = SeededGenerator(seed: 16)
        let weight = generator.tensor([7, 67])
        let indices = [3, 5, 3, 0, 3, 5]
        #expect(gradientProblems(of: [weight]) { embedding(weight: $0[0], indices: indices) } == [])
        let rows = embedding(weight: weight.converted(to: .float32), indices: indices)
        #expect(rows.elementType == .float32)
        #expect(rows.slice(axis: 0, range: 1..<2).floats == weight.slice(axis: 0, range: 5..<6).floats)
        #expect(embedding(weight: weight.transposed(0, 1), indices: [66, 0]).doubles.count == 14)
        #expect(embedding(weight: weight, indices: []).shape == [0, 67])
    }

    @Test func `a matrix of weights, whose tensor they reach`() {
        var generator = SeededGenerator(seed: 19)
        let (x, weight, bias) = (generator.tensor([3, 5]), generator.tensor([7, 5]), generator.tensor([7]))
        #expect(
            gradientProblems(of: [x, weight, bias]) { matmul($0[0], WeightMatrix($0[1]), bias: $0[2]) } == [])
        #expect(gradientProblems(of: [weight]) { WeightMatrix($0[0].transposed(0, 1)).rows([3, 0, 3]) } == [])
        // Recorded or not, the product is the same to within rounding.
        let matrix = WeightMatrix(weight.converted(to: .float32))
        let single = x.converted(to: .float32)
        let shift = bias.converted(to: .float32)
        expectNear(
            matmul(single.tracked(), matrix, bias: shift), matmul(single, matrix, bias: shift).doubles, within: 1e-6)
    }

    @Test func `quantised weights pass gradients on to their input`() throws {
        // One block of 32 in each of two rows: a scale of 1 and bytes.
        let first: [Int8] = (0..<32).map { Int8($0 * 7 % 19 - 9) }
        let second: [Int8] = first.reversed()
        var bytes: [UInt8] = []
        for row in [first, second] { bytes += [0x00, 0x3C] + row.map(UInt8.init(bitPattern:)) }
        let owner = Bytes(bytes)
        let x = Tensor((0..<32).map { Float($0) }, shape: [1, 32]).tracked()
        let seed = Tensor([2, -3] as [Float], shape: [1, 2])
        let expected: [Float] = zip(first, second).map { 2 * Float($0) - 3 * Float($1) }
        // Where gradients are recorded, nothing is rounded to integers.
        for arithmetic in WeightMatrix.Arithmetic.allCases {
            let matrix = WeightMatrix(
                sharing: UnsafeRawBufferPointer(owner.buffer), owner: owner, rowCount: 2, columnCount: 32, format: .q80,
                arithmetic: arithmetic)
            #expect(matrix.tensor == nil)
            #expect(matmul(x, matrix).gradients(of: [x], seed: seed)[0].floats == expected)
            #expect(matmul(x, [matrix, matrix])[1].gradients(of: [x], seed: seed)[0].floats == expected)
        }
    }

    @Test func `dropout, which drops the same elements on the way back`() {
        var generator = SeededGenerator(seed: 17)
        let x = generator.tensor([3, 1667])
        func drop(_ x: Tensor) -> Tensor {
            var random = RandomStream(seed: 5, position: 11)
            return dropout(x, rate: 0.3, random: &random)
        }
        let tracked = x.tracked()
        let gradient = drop(tracked).sum().gradients(of: [tracked])[0].doubles
        #expect(zip(drop(x).doubles, x.doubles).map { $0 / $1 }.elementsEqual(gradient) { abs($0 - $1) < 1e-12 })
        let dropped = gradient.count { $0 == 0 }
        // Five standard deviations of 5001 draws.
        #expect(abs(Double(dropped) - 0.3 * 5001) < 162)
        #expect(gradient.allSatisfy { $0 == 0 || abs($0 - 1 / 0.7) < 1e-12 })
        #expect(drop(x.converted(to: .float32)).floats.map { $0 == 0 } == gradient.map { $0 == 0 })
    }

    @Test func `dropout takes numbers from its stream, and none where nothing is dropped`() {
        let x = Tensor(filledWith: 1, shape: [7])
        var random = RandomStream(seed: 5)
        #expect(dropout(x, rate: 0, random: &random).floats == x.floats)
        #expect(random.position == 0)
        let first = dropout(Tensor(filledWith: 1, shape: [101]), rate: 0.5, random: &random).floats
        #expect(random.position == 51)
        #expect(dropout(Tensor(filledWith: 1, shape: [101]), rate: 0.5, random: &random).floats != first)
    }

    @Test func `have the same bits for any number of threads`() {
        var generator = SeededGenerator(seed: 18)
        let x = generator.tensor([301, 67]).converted(to: .float32).tracked()
        let weight = generator.tensor([67]).converted(to: .float32).tracked()
        let table = generator.tensor([5, 67]).converted(to: .float32).tracked()
        let indices = (0..<301).map { $0 * $0 % 5 }
        func gradients() -> [[Float]] {
            let y = gelu(layerNorm(x, weight: weight, bias: weight) * embedding(weight: table, indices: indices))
            return (softmax(y) * y).sum().gradients(of: [x, weight, table]).map(\.floats)
        }
        let before = ComputeThreads.count
        defer { ComputeThreads.count = before }
        let expected = gradients()
        for count in [1, 2, 3] {
            ComputeThreads.count = count
            #expect(gradients() == expected)
        }
    }
}

/// Bytes that stay where they are.
private final class Bytes: @unchecked Sendable {
    // Safe: written in `init` alone.
    let buffer: UnsafeMutableRawBufferPointer

    init(_ bytes: [UInt8]) {
        buffer = .allocate(byteCount: bytes.count, alignment: 1)
        buffer.copyBytes(from: bytes)
    }

    deinit { buffer.deallocate() }
}
