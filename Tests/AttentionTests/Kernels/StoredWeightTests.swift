import CAttentionKernels
import TestSupport
import Testing

@Suite struct `Stored weights` {
    /// Equal bits, or both NaN.
    private static func isSame(_ a: Float, _ b: Float) -> Bool {
        a.bitPattern == b.bitPattern || (a.isNaN && b.isNaN)
    }

    private static func decode(
        _ bytes: [UInt8], _ type: sattn_weight_type, count: Int, _ kernels: sattn_kernels
    ) -> [Float] {
        var out = [Float](repeating: guardValue, count: count + 1)
        // An odd address: blocks and their elements have no alignment.
        let shifted = [0] + bytes
        shifted.withUnsafeBytes { kernels.decode(&out, $0.baseAddress.map { $0 + 1 }, type, count) }
        #expect(out.last == guardValue)
        return out.dropLast()
    }

    private static func bytes(_ values: [UInt16]) -> [UInt8] {
        values.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
    }

    @Test(arguments: kernelTableNames)
    func `all float16 patterns decode`(table: String) throws {
        let values = Self.decode(
            Self.bytes(Array(0...UInt16.max)), SATTN_FLOAT16, count: 65_536, try kernelTable(table))
        for (pattern, value) in zip(0...UInt16.max, values)
        where !Self.isSame(value, Float(Float16(bitPattern: pattern))) {
            Issue.record("float16 \(pattern) decodes to \(value)")
        }
    }

    @Test(arguments: kernelTableNames)
    func `all bfloat16 patterns decode`(table: String) throws {
        let values = Self.decode(
            Self.bytes(Array(0...UInt16.max)), SATTN_BFLOAT16, count: 65_536, try kernelTable(table))
        for (pattern, value) in zip(0...UInt16.max, values)
        where !Self.isSame(value, Float(bitPattern: UInt32(pattern) << 16)) {
            Issue.record("bfloat16 \(pattern) decodes to \(value)")
        }
    }

    @Test(arguments: kernelTableNames)
    func `any number of unblocked weights decodes`(table: String) throws {
        let kernels = try kernelTable(table)
        for count in 0...70 {
            let x = (0..<count).map { Float($0) - 3.5 }
            #expect(
                Self.decode(
                    Self.bytes(x.map { Float16($0).bitPattern }), SATTN_FLOAT16, count: count, kernels) == x)
            let high = x.map { UInt16($0.bitPattern >> 16) }
            #expect(Self.decode(Self.bytes(high), SATTN_BFLOAT16, count: count, kernels) == x)
            let words = x.flatMap {
                [UInt16(truncatingIfNeeded: $0.bitPattern), UInt16($0.bitPattern >> 16)]
            }
            #expect(Self.decode(Self.bytes(words), SATTN_FLOAT32, count: count, kernels) == x)
        }
    }

    @Test(arguments: kernelTableNames)
    func `quantised blocks decode as GGUF defines them`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 7)
        // Random bytes: scales are normal, subnormal, infinite and NaN.
        for (type, byteCount) in [(SATTN_Q8_0, 34), (SATTN_Q4_0, 18), (SATTN_Q4_1, 20)] {
            for blockCount in [0, 1, 2, 3, 200] {
                let bytes = (0..<blockCount * byteCount).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
                let values = Self.decode(bytes, type, count: 32 * blockCount, kernels)
                for (index, value) in values.enumerated() {
                    let (block, element) = index.quotientAndRemainder(dividingBy: 32)
                    let start = block * byteCount
                    let half = { (offset: Int) in
                        Double(
                            Float16(
                                bitPattern: UInt16(bytes[start + offset]) | UInt16(bytes[start + offset + 1])
                                    << 8))
                    }
                    let nibble = { (offset: Int) in
                        Double(
                            element < 16
                                ? bytes[start + offset + element] & 15
                                : bytes[start + offset + element - 16] >> 4)
                    }
                    // In Double every product and sum here is exact.
                    let expected =
                        switch type {
                        case SATTN_Q8_0: half(0) * Double(Int8(bitPattern: bytes[start + 2 + element]))
                        case SATTN_Q4_0: half(0) * (nibble(2) - 8)
                        default: half(0) * nibble(4) + half(2)
                        }
                    if !Self.isSame(value, Float(expected)) {
                        Issue.record("block \(block), element \(element): \(value), not \(expected)")
                    }
                }
            }
        }
    }

    /// Floats of every exponent, the ends of float16, and what lies halfway between its values.
    private static let floats: [Float] = {
        let sweep = stride(from: UInt32(0), through: .max - 65_537, by: 65_537).map { Float(bitPattern: $0) }
        let halves = stride(from: UInt16(0), to: 0x7C00, by: 37).flatMap { pattern in
            let middle =
                (Float(Float16(bitPattern: pattern)) + Float(Float16(bitPattern: pattern).nextUp)) / 2
            return [middle, middle.nextUp, middle.nextDown, -middle]
        }
        let ends: [Float] = [
            65_504, 65_519.996, 65_520, 1e-8, 0x1p-25, 0x1.000002p-25, .infinity, -.infinity, .nan, -0.0,
        ]
        return sweep + halves + ends
    }()

    @Test(arguments: kernelTableNames)
    func `float16 rounds to the nearest, ties to even`(table: String) throws {
        let kernels = try kernelTable(table)
        var out = [UInt16](repeating: 0, count: Self.floats.count)
        kernels.encode_float16(&out, Self.floats, out.count)
        for (x, pattern) in zip(Self.floats, out) {
            let isRight =
                x.isNaN
                ? Float16(bitPattern: pattern).isNaN && pattern & 0x200 != 0
                : pattern == Float16(x).bitPattern
            if !isRight { Issue.record("\(x) becomes \(Float16(bitPattern: pattern))") }
        }
    }

    @Test(arguments: kernelTableNames)
    func `bfloat16 rounds to the nearest, ties to even`(table: String) throws {
        let kernels = try kernelTable(table)
        let ties = stride(from: UInt32(0x8000), to: 0x7F80_0000, by: 0x7F_0000).map { Float(bitPattern: $0) }
        let floats = Self.floats + ties + [.greatestFiniteMagnitude, -.greatestFiniteMagnitude]
        var out = [UInt16](repeating: 0, count: floats.count)
        kernels.encode_bfloat16(&out, floats, out.count)
        for (x, pattern) in zip(floats, out) {
            let value = Float(bitPattern: UInt32(pattern) << 16)
            if x.isNaN {
                if !value.isNaN || pattern & 0x40 == 0 { Issue.record("NaN becomes \(value)") }
                continue
            }
            if x.isInfinite {
                if value != x { Issue.record("\(x) becomes \(value)") }
                continue
            }
            // The neighbours toward and away from zero; the one above the largest counts as 2¹²⁸.
            let inner = UInt16(x.bitPattern >> 16)
            let position = { (pattern: UInt16) -> Double in
                let float = Float(bitPattern: UInt32(pattern & 0x7FFF) << 16)
                return float.isInfinite ? 0x1p128 : Double(float)
            }
            let below = Double(x.magnitude) - position(inner)
            let above = position(inner + 1) - Double(x.magnitude)
            let expected = below < above || (below == above && inner & 1 == 0) ? inner : inner + 1
            if pattern != expected { Issue.record("\(x) becomes \(value)") }
        }
    }

    @Test(arguments: kernelTableNames)
    func `any number of weights encodes and comes back`(table: String) throws {
        let kernels = try kernelTable(table)
        for count in 0...70 {
            let x = (0..<count).map { Float($0) / 4 - 7 }
            var half = [UInt16](repeating: 0xABCD, count: count + 1)
            kernels.encode_float16(&half, x, count)
            #expect(half.last == 0xABCD)
            #expect(Self.decode(Self.bytes(half.dropLast()), SATTN_FLOAT16, count: count, kernels) == x)
            var brain = [UInt16](repeating: 0xABCD, count: count + 1)
            kernels.encode_bfloat16(&brain, x, count)
            #expect(brain.last == 0xABCD)
            #expect(Self.decode(Self.bytes(brain.dropLast()), SATTN_BFLOAT16, count: count, kernels) == x)
        }
    }
}
