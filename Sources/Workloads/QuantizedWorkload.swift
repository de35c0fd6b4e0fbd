internal import Attention

/// Activations times quantised weights: many rows, as a prompt has, and one, as a token has.
enum QuantizedWorkload {
    static var all: [Workload] {
        [WeightMatrix.Format.q41, .q40, .q80].flatMap { format in
            [(512, 1536, 576), (512, 576, 1536), (512, 4096, 4096), (1, 131_072, 1024)].map { rows, columns, depth in
                workload(format, rows: rows, columns: columns, depth: depth)
            }
        }
    }

    private static func workload(_ format: WeightMatrix.Format, rows: Int, columns: Int, depth: Int) -> Workload {
        let name = "quantized \(format.rawValue) m\(rows) n\(columns) k\(depth)"
        let byteCount = columns * depth / format.blockLength * format.blockByteCount
        return Workload(
            name, bound: rows == 1 ? .memory : .int8,
            amount: rows == 1 ? Double(byteCount) : 2 * Double(rows) * Double(columns) * Double(depth)
        ) {
            var random = RandomStream(seed: 1)
            let bytes = randomBlocks(format, count: byteCount / format.blockByteCount, &random)
            let weights = bytes.contents.withUnsafeBytes { contents in
                WeightMatrix(
                    sharing: contents, owner: bytes, rowCount: columns, columnCount: depth, format: format,
                    arithmetic: .int8)
            }
            let x = random.normal([rows, depth], deviation: 1)
            let result = matmul(x, weights)
            for row in Set([0, rows - 1]) {
                let left = x.slice(axis: 0, range: row..<row + 1).doubles
                for column in [0, columns / 2, columns - 1] {
                    let right = weights.rows([column]).doubles
                    let expected = zip(left, right).reduce(0) { $0 + $1.0 * $1.1 }
                    // Activations rounded to 8 bits of the largest of a block: 1 % of each product, at random.
                    let norm = zip(left, right).reduce(0) { $0 + ($1.0 * $1.1) * ($1.0 * $1.1) }.squareRoot()
                    try Workload.check(name, [result[row, column]], [expected], tolerance: 0.1 * max(norm, 1e-3))
                }
            }
            return { _ = matmul(x, weights) }
        }
    }

    /// Keeps the bytes of weights where they are.
    private final class Bytes: Sendable {
        let contents: [UInt8]
        init(_ contents: [UInt8]) { self.contents = contents }
    }

    /// Blocks of random numbers with scales about 0.01.
    private static func randomBlocks(
        _ format: WeightMatrix.Format, count: Int, _ random: inout RandomStream
    ) -> Bytes {
        var contents: [UInt8] = []
        contents.reserveCapacity(count * format.blockByteCount)
        func append(_ value: Double) {
            let bits = Tensor([Float(value)], shape: [1]).converted(to: .float16).withUnsafeBytes { Array($0) }
            contents += bits
        }
        let pattern = (0..<4096).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        for block in 0..<count {
            append(0.005 + 0.01 * Double(block % 7) / 7)
            if format == .q41 { append(-0.05) }
            let length = format.blockByteCount - (format == .q41 ? 4 : 2)
            for index in 0..<length { contents.append(pattern[(block &* 37 &+ index) & 4095]) }
        }
        return Bytes(contents)
    }
}
