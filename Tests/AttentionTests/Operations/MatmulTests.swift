import Attention
import TestSupport
import Testing

@Suite struct `Matrix products` {
    /// Owns bytes that a matrix shares.
    private final class Bytes: Sendable {
        let bytes: [UInt8]

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
        }
    }

    private func littleEndian(_ half: Float16) -> [UInt8] {
        [UInt8(truncatingIfNeeded: half.bitPattern), UInt8(truncatingIfNeeded: half.bitPattern >> 8)]
    }

    /// Random weights in a format, and the numbers that GGUF says they are.
    private func weights(
        _ format: WeightMatrix.Format, rowCount: Int, columnCount: Int, seed: UInt64, misaligned: Bool = false
    ) -> (matrix: WeightMatrix, numbers: [Double]) {
        var random = SeededGenerator(seed: seed)
        var bytes: [UInt8] = []
        var numbers: [Double] = []
        for _ in 0..<rowCount * columnCount / format.blockLength {
            let scale = Float16(random.numbers(1, in: -0.1...0.1)[0])
            let minimum = Float16(random.numbers(1, in: -1...1)[0])
            switch format {
            case .float32:
                let number = Float(random.numbers(1)[0])
                withUnsafeBytes(of: number.bitPattern.littleEndian) { bytes += $0 }
                numbers.append(Double(number))
            case .float16:
                bytes += littleEndian(minimum)
                numbers.append(Double(minimum))
            case .bfloat16:
                let number = BFloat16(Float(minimum))
                withUnsafeBytes(of: number.bitPattern.littleEndian) { bytes += $0 }
                numbers.append(Double(Float(number)))
            case .q80:
                let quants = (0..<32).map { _ in Int8(truncatingIfNeeded: random.next()) }
                bytes += littleEndian(scale) + quants.map { UInt8(bitPattern: $0) }
                numbers += quants.map { Double(scale) * Double($0) }
            case .q40, .q41:
                let quants = (0..<32).map { _ in UInt8(random.next() % 16) }
                bytes += littleEndian(scale) + (format == .q41 ? littleEndian(minimum) : [])
                bytes += (0..<16).map { quants[$0] | quants[$0 + 16] << 4 }
                numbers += quants.map {
                    format == .q40
                        ? Double(scale) * (Double($0) - 8) : Double(scale) * Double($0) + Double(minimum)
                }
            }
        }
        let owner = Bytes((misaligned ? [0] : []) + bytes)
        let matrix = owner.bytes.withUnsafeBytes { whole in
            WeightMatrix(
                sharing: UnsafeRawBufferPointer(rebasing: whole.dropFirst(misaligned ? 1 : 0)), owner: owner,
                rowCount: rowCount, columnCount: columnCount, format: format)
        }
        return (matrix, numbers)
    }

    // 37 outputs are more than two blocks of 16.
    @Test(arguments: WeightMatrix.Format.allCases, [false, true])
    func `products with every format agree with Double`(format: WeightMatrix.Format, misaligned: Bool) {
        let columns = format.blockLength == 1 ? 67 : 96
        let (matrix, numbers) = weights(
            format, rowCount: 37, columnCount: columns, seed: 121, misaligned: misaligned)
        #expect(matrix.byteCount == 37 * columns / format.blockLength * format.blockByteCount)
        var random = SeededGenerator(seed: 122)
        for rowCount in [1, 2, 13] {
            let x = random.operand([rowCount, columns])
            let inputs = x.doubles
            var expected: [Double] = []
            var plain: [Float] = []
            for row in 0..<rowCount {
                for output in 0..<37 {
                    var (sum, plainSum) = (0.0, Float(0))
                    for column in 0..<columns {
                        let (input, weight) = (
                            inputs[row * columns + column], numbers[output * columns + column]
                        )
                        sum += input * weight
                        plainSum += Float(input) * Float(weight)
                    }
                    expected.append(sum)
                    plain.append(plainSum)
                }
            }
            expectAgreement(
                matmul(x, matrix), plain: plain, reference: Tensor(expected, shape: [rowCount, 37]))
        }
    }

    @Test(arguments: WeightMatrix.Format.allCases)
    func `a row's bits do not depend on the batch`(format: WeightMatrix.Format) {
        let (matrix, _) = weights(format, rowCount: 37, columnCount: 96, seed: 123)
        var random = SeededGenerator(seed: 124)
        let x = random.operand([11, 96])
        let together = matmul(x, matrix)
        for row in 0..<11 {
            let alone = matmul(x.slice(axis: 0, range: row..<row + 1), matrix)
            #expect(bits(alone) == bits(together.slice(axis: 0, range: row..<row + 1)))
        }
        #expect(
            bits(matmul(x.slice(axis: 0, range: 2..<9), matrix))
                == bits(together.slice(axis: 0, range: 2..<9)))
    }

    private static let quantizedFormats = WeightMatrix.Format.allCases.filter(\.isQuantized)

    @Test func `integers are used where they were asked for and can be`() {
        var (matrix, _) = weights(.q41, rowCount: 3, columnCount: 32, seed: 1)
        #expect(matrix.usedArithmetic == .float32)
        matrix.arithmetic = .int8
        #expect(matrix.usedArithmetic == (KernelInfo.name == "neon" ? .float32 : .int8))
        for format in [WeightMatrix.Format.float32, .float16, .bfloat16] {
            var (matrix, _) = weights(format, rowCount: 3, columnCount: 32, seed: 1)
            matrix.arithmetic = .int8
            #expect(matrix.usedArithmetic == .float32)
        }
    }

    // 1,000 rows are several pieces for the threads, 530 outputs several items and a part of a panel.
    @Test(arguments: quantizedFormats, [1, 7, 1000])
    func `integers are off by the rounding of activations`(format: WeightMatrix.Format, rowCount: Int) {
        var (matrix, numbers) = weights(format, rowCount: 530, columnCount: 576, seed: 126, misaligned: true)
        matrix.arithmetic = .int8
        var random = SeededGenerator(seed: 127)
        let x = random.operand([rowCount, 576])
        let (inputs, found) = (x.doubles, matmul(x, matrix).doubles)
        for row in [0, rowCount / 2, rowCount - 1] {
            // A step is 1/127 of the largest, and errors, up to half of it, have a deviation of a step by √12.
            let step = inputs[row * 576..<(row + 1) * 576].reduce(0) { max($0, abs($1)) } / 127
            for output in 0..<530 {
                var (sum, squares) = (0.0, 0.0)
                for column in 0..<576 {
                    let weight = numbers[output * 576 + column]
                    sum += inputs[row * 576 + column] * weight
                    squares += weight * weight
                }
                #expect(abs(found[row * 530 + output] - sum) < 6 * step * (squares / 12).squareRoot())
            }
        }
    }

    @Test(arguments: quantizedFormats)
    func `contract 5: bits of integer products depend neither on batch nor threads nor company`(
        format: WeightMatrix.Format
    ) {
        let before = ComputeThreads.count
        defer { ComputeThreads.count = before }
        var (matrix, _) = weights(format, rowCount: 530, columnCount: 96, seed: 128)
        var (other, _) = weights(.q80, rowCount: 37, columnCount: 96, seed: 129)
        matrix.arithmetic = .int8
        other.arithmetic = .int8
        var random = SeededGenerator(seed: 130)
        let x = random.operand([257, 96])
        let expected = (bits(matmul(x, matrix)), bits(matmul(x, other)))
        for count in [1, 2, 3, 5] {
            ComputeThreads.count = count
            #expect(bits(matmul(x, matrix)) == expected.0)
            let both = matmul(x, [matrix, other])
            #expect(bits(both[0]) == expected.0 && bits(both[1]) == expected.1)
            for row in [0, 1, 100, 256] {
                let alone = matmul(x.slice(axis: 0, range: row..<row + 1), [other, matrix])
                #expect(bits(alone[0])[...] == expected.1[row * 37 * 4..<(row + 1) * 37 * 4])
                #expect(bits(alone[1])[...] == expected.0[row * 530 * 4..<(row + 1) * 530 * 4])
            }
        }
    }

    @Test func `several products are what each one is`() {
        let (first, _) = weights(.q41, rowCount: 37, columnCount: 96, seed: 131)
        var (second, _) = weights(.q80, rowCount: 5, columnCount: 96, seed: 132)
        second.arithmetic = .int8
        var random = SeededGenerator(seed: 133)
        let x = random.operand([2, 3, 96])
        let products = matmul(x, [first, second])
        #expect(products.map(\.shape) == [[2, 3, 37], [2, 3, 5]])
        #expect(bits(products[0]) == bits(matmul(x, first)) && bits(products[1]) == bits(matmul(x, second)))
        #expect(matmul(x, [WeightMatrix]()).isEmpty)
        #expect(matmul(Tensor(zeros: [0, 96]), [second])[0].shape == [0, 5])
        let bias = random.operand([5])
        #expect(bits(matmul(x, second, bias: bias)) == bits(products[1] + bias))
        #expect(bits(matmul(x.converted(to: .float64), second)) == bits(products[1]))
    }

    @Test(arguments: WeightMatrix.Format.allCases)
    func `rows and their mean are the decoded weights`(format: WeightMatrix.Format) {
        // More rows than a block of the mean's sum has.
        let (matrix, numbers) = weights(format, rowCount: 1031, columnCount: 32, seed: 125, misaligned: true)
        let rows = matrix.rows([1030, 0, 7, 7])
        #expect(rows.shape == [4, 32])
        let expected = [1030, 0, 7, 7].flatMap { numbers[$0 * 32..<($0 + 1) * 32] }
        expectNear(rows, expected, within: 0x1p-23)
        let mean = (0..<32).map { column in
            stride(from: column, to: numbers.count, by: 32).reduce(0) { $0 + numbers[$1] } / 1031
        }
        #expect(matrix.meanRow.shape == [32])
        // Sums of 1,031 numbers of up to 14 in float32.
        expectNear(matrix.meanRow, mean, within: 1e-4)
    }

    @Test func `a matrix of a tensor may be a view, and inputs of any layout and type`() {
        var random = SeededGenerator(seed: 126)
        let weights = random.operand([5, 7])
        let x = random.operand([7, 3, 2])
        let expected = matmul(x.transposed(0, 2).contiguous(), WeightMatrix(weights))
        #expect(expected.shape == [2, 3, 5])
        #expect(bits(matmul(x.transposed(0, 2), WeightMatrix(weights))) == bits(expected))
        let column = weights.transposed(0, 1).contiguous().transposed(0, 1)
        #expect(bits(matmul(x.transposed(0, 2), WeightMatrix(column))) == bits(expected))
        let sliced = random.operand([9, 7]).slice(axis: 0, range: 3..<8)
        #expect(
            bits(matmul(x.transposed(0, 2), WeightMatrix(sliced)))
                == bits(matmul(x.transposed(0, 2), WeightMatrix(Tensor(sliced.floats, shape: [5, 7])))))
        let halves = x.converted(to: .float16).transposed(0, 2)
        #expect(
            bits(matmul(halves, WeightMatrix(weights)))
                == bits(matmul(halves.converted(to: .float32), WeightMatrix(weights))))
    }

    @Test func `products without rows, outputs or columns have the right shape, and are zero`() {
        #expect(matmul(Tensor(zeros: [0, 7]), WeightMatrix(Tensor(zeros: [5, 7]))).shape == [0, 5])
        #expect(matmul(Tensor(zeros: [3, 7]), WeightMatrix(Tensor(zeros: [0, 7]))).shape == [3, 0])
        // Leaves NaN in the pool's buffers.
        _ = Tensor([Float](repeating: .nan, count: 15), shape: [15])
        let empty = matmul(Tensor(zeros: [3, 0]), WeightMatrix(Tensor(zeros: [5, 0])))
        #expect(empty.shape == [3, 5])
        #expect(empty.floats.allSatisfy { $0 == 0 })
    }

    // Few rows are multiplied by weights as they lie, more by packed ones, in one block of rows or in several.
    @Test(arguments: [WeightMatrix.Format.float32, .float16, .bfloat16])
    func `a row's bits do not depend on how many rows there are`(format: WeightMatrix.Format) {
        for columns in [300, 67] {
            let (matrix, _) = weights(format, rowCount: 71, columnCount: columns, seed: 131, misaligned: true)
            var random = SeededGenerator(seed: 132)
            let x = random.operand([131, columns])
            let bias = random.operand([71])
            for input in [x, x.converted(to: .bfloat16)] {
                let together = matmul(input, matrix, bias: bias)
                for rows in [0..<1, 3..<5, 17..<42, 20..<120] {
                    let part = matmul(input.slice(axis: 0, range: rows), matrix, bias: bias)
                    #expect(bits(part) == bits(together.slice(axis: 0, range: rows)))
                }
                // The tensor of the same weights, recorded or not, in whatever type they are.
                let tensor = matrix.rows(Array(0..<71))
                if input.elementType == .float32 {
                    #expect(bits(linear(input, weight: tensor, bias: bias)) == bits(together))
                }
            }
        }
    }

    @Test func `bfloat16 times bfloat16 is bfloat16, summed in float32`() {
        var random = SeededGenerator(seed: 133)
        for (rows, outputs, columns) in [
            (1, 37, 67), (5, 131, 64), (53, 271, 1031), (101, 3, 2), (2, 5, 0), (31, 7, 0),
        ] {
            let x = random.operand([rows, columns]).converted(to: .bfloat16)
            let weight = random.operand([outputs, columns]).converted(to: .bfloat16)
            let bias = random.operand([outputs])
            let product = linear(x, weight: weight, bias: bias)
            #expect(product.elementType == .bfloat16 && product.shape == [rows, outputs])
            #expect(bits(matmul(x, WeightMatrix(weight), bias: bias)) == bits(product))
            let exact = linear(
                x.converted(to: .float64), weight: weight.converted(to: .float64), bias: bias.converted(to: .float64))
            let (found, expected) = (product.doubles, exact.doubles)
            for index in found.indices {
                // Half a unit of bfloat16, and float32's own error beside it.
                let allowed = expected[index].magnitude * 0x1p-8 + Double(columns + 1) * 0x1p-22
                #expect(abs(found[index] - expected[index]) <= allowed)
            }
            let former = ComputeThreads.count
            defer { ComputeThreads.count = former }
            for threads in [1, 3] {
                ComputeThreads.count = threads
                #expect(bits(linear(x, weight: weight, bias: bias)) == bits(product), "contract 5")
            }
            // A view that begins in the middle of a pair.
            let wider = Tensor.concatenated(
                [
                    Tensor(zeros: [1], elementType: .float32),
                    x.converted(to: .float32)
                        .reshaped(to: [rows * columns]),
                ], axis: 0
            ).converted(to: .bfloat16)
            let view = wider.slice(axis: 0, range: 1..<rows * columns + 1).reshaped(to: [rows, columns])
            #expect(bits(linear(view, weight: weight, bias: bias)) == bits(product))
        }
        let (x, weight) = (random.operand([3, 5]), random.operand([7, 5]))
        let tracked = linear(x.converted(to: .bfloat16), weight: weight.converted(to: .bfloat16).tracked())
        #expect(tracked.elementType == .float32)
    }
}
