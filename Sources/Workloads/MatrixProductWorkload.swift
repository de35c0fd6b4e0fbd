internal import Attention

/// Products of activations with weights, `x Wᵀ`.
enum MatrixProductWorkload {
    static var all: [Workload] {
        [ElementType.float32, .bfloat16].flatMap { type in
            [(2048, 2048, 2048), (128, 1536, 384), (512, 1536, 576), (4096, 384, 384)].map { rows, columns, depth in
                workload(type, rows: rows, columns: columns, depth: depth)
            }
        }
    }

    private static func workload(_ elementType: ElementType, rows: Int, columns: Int, depth: Int) -> Workload {
        let name = "gemm \(elementType.rawValue) m\(rows) n\(columns) k\(depth)"
        return Workload(
            name, bound: elementType == .bfloat16 ? .bfloat16 : .float32,
            amount: 2 * Double(rows) * Double(columns) * Double(depth)
        ) {
            var random = RandomStream(seed: 1)
            let x = random.normal([rows, depth], deviation: 1).converted(to: elementType)
            let weight = random.normal([columns, depth], deviation: 1).converted(to: elementType)
            let result = linear(x, weight: weight)
            for row in [0, rows / 2, rows - 1] {
                let left = x.slice(axis: 0, range: row..<row + 1).doubles
                for column in [0, columns / 2, columns - 1] {
                    let right = weight.slice(axis: 0, range: column..<column + 1).doubles
                    let expected = zip(left, right).reduce(0) { $0 + $1.0 * $1.1 }
                    // Sums of `depth` products of numbers about 1, and the rounding of the result.
                    let unit = elementType == .bfloat16 ? 4e-3 * max(1, abs(expected)) : 1e-6 * Double(depth)
                    try Workload.check(name, [result[row, column]], [expected], tolerance: unit)
                }
            }
            return { _ = linear(x, weight: weight) }
        }
    }
}
