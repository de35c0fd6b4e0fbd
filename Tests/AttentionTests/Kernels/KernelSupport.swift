import CAttentionKernels
import TestSupport
import Testing

/// The names of the kernel tables that this processor can run.
let kernelTableNames: [String] = ["scalar", "avx2", "avx512", "amx", "neon"].filter { name in
    sattn_kernels_named(name) != nil
}

func kernelTable(_ name: String) throws -> sattn_kernels {
    try #require(sattn_kernels_named(name)).pointee
}

/// What stands where a kernel may not write.
let guardValue: Float = -12_345.5

/// Rows of floats in memory that is no better aligned than a float, each row longer than it says by what would
/// spoil any sum that read it.
final class PaddedMatrix {
    let rows: Int
    let columns: Int
    let stride: Int
    private let padding: Float
    private let storage: UnsafeMutableBufferPointer<Float>

    init(rows: Int, columns: Int, padding: Float, value: (_ row: Int, _ column: Int) -> Float) {
        self.rows = rows
        self.columns = columns
        self.padding = padding
        stride = columns + 3
        // Safe: freed in `deinit`, and every index stays below the count.
        storage = .allocate(capacity: (rows + 1) * stride + 1)
        storage.initialize(repeating: padding)
        for row in 0..<rows {
            for column in 0..<columns {
                self[row, column] = value(row, column)
            }
        }
    }

    convenience init(rows: Int, columns: Int, random generator: inout SeededGenerator) {
        var values = (0..<rows * columns).map { _ in Float.random(in: -1...1, using: &generator) }[...]
        self.init(rows: rows, columns: columns, padding: .nan) { _, _ in values.popFirst() ?? 0 }
    }

    deinit {
        storage.deallocate()
    }

    var pointer: UnsafeMutablePointer<Float>? {
        storage.baseAddress.map { $0 + 1 }
    }

    subscript(row: Int, column: Int) -> Float {
        get { storage[1 + row * stride + column] }
        set { storage[1 + row * stride + column] = newValue }
    }

    /// Rounds the elements.
    func round(_ rounded: (Float) -> Float) {
        for row in 0..<rows {
            for column in 0..<columns { self[row, column] = rounded(self[row, column]) }
        }
    }

    /// Calls `body` with the rows from an address in them on, stored as a type that holds them exactly.
    func withStored(
        as type: sattn_weight_type, from start: UnsafePointer<Float>, _ body: (UnsafeRawPointer?) -> Void
    ) {
        guard let base = storage.baseAddress else { return }
        let rest = storage[(UnsafePointer(base).distance(to: start))...]
        switch type {
        case SATTN_FLOAT16: rest.map { Float16($0).bitPattern }.withUnsafeBytes { body($0.baseAddress) }
        case SATTN_BFLOAT16: rest.map { UInt16($0.bitPattern >> 16) }.withUnsafeBytes { body($0.baseAddress) }
        default: body(start)
        }
    }

    /// Whether everything outside of the rows and columns is as it was.
    var isPaddingIntact: Bool {
        storage.indices.allSatisfy { index in
            let (row, column) = (index - 1).quotientAndRemainder(dividingBy: stride)
            let isInside = index > 0 && row < rows && column < columns
            return isInside || storage[index].bitPattern == padding.bitPattern
        }
    }

    var bitPatterns: [[UInt32]] {
        (0..<rows).map { row in (0..<columns).map { self[row, $0].bitPattern } }
    }
}

/// How far `value` is from `exact`, in units of the last place of a float there.
func ulps(_ value: Float, _ exact: Double) -> Double {
    if exact.isNaN { return value.isNaN ? 0 : .infinity }
    let nearest = Float(exact)
    if value == nearest { return 0 }
    return abs(Double(value) - exact) / Double(max(nearest.magnitude, .leastNormalMagnitude).ulp)
}
