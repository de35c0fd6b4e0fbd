import TestSupport
import Testing

@testable import Attention

@Suite(.serialized) struct `General matrix products` {
    /// A matrix in rows or in columns, with its elements and an operand that reads them.
    private struct Matrix<Scalar: KernelScalar> {
        let rows: Int
        let columns: Int
        let elements: [Scalar]
        let isTransposed: Bool

        init(_ rows: Int, _ columns: Int, isTransposed: Bool, using generator: inout SeededGenerator) {
            self.rows = rows
            self.columns = columns
            self.isTransposed = isTransposed
            elements = (0..<rows * columns).map { _ in Scalar(Float.random(in: -1...1, using: &generator)) }
        }

        subscript(row: Int, column: Int) -> Scalar {
            isTransposed ? elements[column * rows + row] : elements[row * columns + column]
        }

        /// From a row and a column on.
        func operand(
            _ start: UnsafePointer<Scalar>, row: Int = 0, column: Int = 0
        ) -> MatrixOperand<Scalar> {
            isTransposed
                ? MatrixOperand(transposed: start + column * rows + row, rowStride: rows)
                : MatrixOperand(rows: start + row * columns + column, rowStride: columns)
        }
    }

    /// Computes rows and columns of `bias + a · b`, or of `out + a · b`; a guard stands behind each row.
    private func product<Scalar: KernelScalar>(
        _ a: Matrix<Scalar>, _ b: Matrix<Scalar>, rows: Range<Int>, columns: Range<Int>, bias: [Scalar]? = nil,
        addedTo start: Scalar? = nil, isPacked: Bool = false
    ) -> [[Scalar]] {
        let stride = columns.count + 1
        var out = [Scalar](repeating: start ?? -77, count: rows.count * stride)
        for row in 0..<rows.count { out[row * stride + columns.count] = 99 }
        a.elements.withUnsafeBufferPointer { left in
            b.elements.withUnsafeBufferPointer { right in
                (bias ?? []).withUnsafeBufferPointer { biases in
                    out.withUnsafeMutableBufferPointer { out in
                        guard let left = left.baseAddress, let right = right.baseAddress, let out = out.baseAddress
                        else {
                            return
                        }
                        let operand = a.operand(left, row: rows.lowerBound)
                        let other = b.operand(right, column: columns.lowerBound)
                        let begin = bias == nil ? nil : biases.baseAddress.map { $0 + columns.lowerBound }
                        if isPacked {
                            multiply(
                                operand, PackedMatrix(other, depth: a.columns, columns: columns.count),
                                rows: rows.count,
                                into: out, outStride: stride, bias: begin, isAccumulating: start != nil)
                        } else {
                            multiply(
                                operand, other, rows: rows.count, columns: columns.count, depth: a.columns, into: out,
                                outStride: stride, bias: begin, isAccumulating: start != nil)
                        }
                    }
                }
            }
        }
        return (0..<rows.count).map { row in
            #expect(out[row * stride + columns.count] == 99)
            return Array(out[row * stride..<row * stride + columns.count])
        }
    }

    /// More than one block of rows, of columns and of depth, none of them whole.
    private static let shapes = [(103, 271, 263), (5, 7, 3), (1, 67, 259), (17, 131, 64), (98, 1, 11), (211, 65, 1)]

    @Test(arguments: [false, true], [false, true])
    func `agree with Double in rows and in columns`(isLeftTransposed: Bool, isRightTransposed: Bool) {
        var generator = SeededGenerator(seed: 51)
        for (rows, columns, depth) in Self.shapes {
            let a = Matrix<Float>(rows, depth, isTransposed: isLeftTransposed, using: &generator)
            let b = Matrix<Float>(depth, columns, isTransposed: isRightTransposed, using: &generator)
            let bias = generator.floats(columns)
            let out = product(a, b, rows: 0..<rows, columns: 0..<columns, bias: bias)
            for row in stride(from: 0, to: rows, by: 13) {
                for column in stride(from: 0, to: columns, by: 7) {
                    var (exact, plain) = (Double(bias[column]), bias[column])
                    var magnitude = exact.magnitude
                    for k in 0..<depth {
                        exact += Double(a[row, k]) * Double(b[k, column])
                        plain += a[row, k] * b[k, column]
                        magnitude += abs(Double(a[row, k]) * Double(b[k, column]))
                    }
                    let floor = magnitude * Double(depth).squareRoot() * 0x1p-24
                    #expect(
                        abs(Double(out[row][column]) - exact) <= 2 * abs(Double(plain) - exact) + floor,
                        "\(rows) × \(columns) × \(depth) at \(row), \(column)")
                }
            }
        }
    }

    @Test(arguments: [false, true], [false, true])
    func `a row and a column alone have the same bits`(isLeftTransposed: Bool, isRightTransposed: Bool) {
        var generator = SeededGenerator(seed: 52)
        for (rows, columns, depth) in Self.shapes {
            let a = Matrix<Float>(rows, depth, isTransposed: isLeftTransposed, using: &generator)
            let b = Matrix<Float>(depth, columns, isTransposed: isRightTransposed, using: &generator)
            let whole = product(a, b, rows: 0..<rows, columns: 0..<columns)
            #expect(product(a, b, rows: 0..<rows, columns: 0..<columns, isPacked: true) == whole)
            for row in [0, rows / 2, rows - 1] {
                #expect(product(a, b, rows: row..<row + 1, columns: 0..<columns)[0] == whole[row])
                #expect(product(a, b, rows: row..<row + 1, columns: 0..<columns, isPacked: true)[0] == whole[row])
            }
            let column = columns / 2
            let alone = product(a, b, rows: 0..<rows, columns: column..<column + 1).map { $0[0] }
            #expect(alone == whole.map { $0[column] })
        }
    }

    @Test func `bits depend on neither threads nor how a sum is begun`() {
        var generator = SeededGenerator(seed: 53)
        let a = Matrix<Float>(103, 263, isTransposed: true, using: &generator)
        let b = Matrix<Float>(263, 271, isTransposed: false, using: &generator)
        let threads = ComputeThreads.count
        defer { ComputeThreads.count = threads }
        var results: [[[Float]]] = []
        for count in [1, 2, 5] {
            ComputeThreads.count = count
            results.append(product(a, b, rows: 0..<103, columns: 0..<271, addedTo: 0.5))
            results.append(
                product(
                    a, b, rows: 0..<103, columns: 0..<271, bias: [Float](repeating: 0.5, count: 271), isPacked: true))
        }
        #expect(results.allSatisfy { $0 == results[0] })
    }

    @Test func `without depth there is the bias, what was there, or zeros`() {
        var generator = SeededGenerator(seed: 54)
        // One element more than none, so that there is an address.
        for rows in [3, 101] {
            let a = Matrix<Float>(rows, 1, isTransposed: false, using: &generator)
            let b = Matrix<Float>(1, 5, isTransposed: false, using: &generator)
            for (bias, isAccumulating, expected) in [
                ([1, 2, 3, 4, 5], false, [1, 2, 3, 4, 5]), (nil, false, [0, 0, 0, 0, 0]), (nil, true, [7, 7, 7, 7, 7]),
            ] as [([Float]?, Bool, [Float])] {
                var out = [Float](repeating: 7, count: rows * 5)
                a.elements.withUnsafeBufferPointer { left in
                    b.elements.withUnsafeBufferPointer { right in
                        guard let left = left.baseAddress, let right = right.baseAddress else { return }
                        (bias ?? []).withUnsafeBufferPointer { biases in
                            multiply(
                                a.operand(left), b.operand(right), rows: rows, columns: 5, depth: 0, into: &out,
                                outStride: 5, bias: bias == nil ? nil : biases.baseAddress,
                                isAccumulating: isAccumulating)
                        }
                    }
                }
                #expect(Array(out.prefix(5)) == expected && Array(out.suffix(5)) == expected)
            }
        }
    }

    @Test func `in Double sums are exact to its digits`() {
        var generator = SeededGenerator(seed: 55)
        for (isLeftTransposed, isRightTransposed) in [(false, true), (true, false)] {
            let a = Matrix<Double>(101, 19, isTransposed: isLeftTransposed, using: &generator)
            let b = Matrix<Double>(19, 67, isTransposed: isRightTransposed, using: &generator)
            let out = product(a, b, rows: 0..<101, columns: 0..<67)
            let expected = (0..<101).map { row in
                (0..<67).map { column in (0..<19).reduce(0.0) { $0 + a[row, $1] * b[$1, column] } }
            }
            #expect(zip(out, expected).allSatisfy { zip($0, $1).allSatisfy { abs($0 - $1) <= 1e-14 } })
        }
    }

    @Test func `a NaN reaches its row or column and nothing else`() {
        var generator = SeededGenerator(seed: 56)
        let x = generator.tensor([97, 67]).converted(to: .float32)
        var elements = x.floats
        elements[41 * 67 + 5] = .nan
        let weight = generator.tensor([71, 67]).converted(to: .float32)
        let result = linear(Tensor(elements, shape: [97, 67]), weight: weight)
        let expected = linear(x, weight: weight).floats
        for (index, value) in result.floats.enumerated() {
            #expect(index / 71 == 41 ? value.isNaN : value == expected[index])
        }
    }
}
