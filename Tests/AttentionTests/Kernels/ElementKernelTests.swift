import CAttentionKernels
import Foundation
import TestSupport
import Testing

@Suite struct `Kernels of each element` {
    /// Every 16,411th float between two bounds of one sign, by bit pattern: all magnitudes alike.
    private static func floats(upTo bound: Float) -> [Float] {
        let last = bound.magnitude.bitPattern
        return stride(from: 0, through: last, by: 16_411).map {
            Float(sign: bound.sign, exponent: 0, significand: 1) * Float(bitPattern: $0)
        } + [bound]
    }

    private static func map(
        _ kernel: (@convention(c) (UnsafeMutablePointer<Float>?, UnsafePointer<Float>?, Int) -> Void)?,
        _ x: [Float]
    ) throws -> [Float] {
        let kernel = try #require(kernel)
        var out = [Float](repeating: guardValue, count: x.count)
        kernel(&out, x, x.count)
        return out
    }

    /// exp, which is `exp_sum` without a shift.
    private static func exponentials(_ table: String, _ x: [Float]) throws -> [Float] {
        var out = x
        _ = try kernelTable(table).exp_sum(&out, x.count, 0)
        return out
    }

    /// NaN of either sign, quiet and signalling, with payloads that a careless sum of bits turns into numbers.
    private static let nans: [Float] =
        [0x7FC0_0000, 0xFFC0_0000, 0x7FC0_01FF, 0x7F80_0001, 0xFFFF_FFFF, 0x7FC0_0101].map {
            Float(bitPattern: $0)
        }

    @Test(arguments: kernelTableNames)
    func `exp is within two units in the last place`(table: String) throws {
        let x = Self.floats(upTo: 88.722_83) + Self.floats(upTo: -87.336_54)
        let worst = try zip(x, Self.exponentials(table, x)).map { ulps($1, exp(Double($0))) }.max()
        #expect(try #require(worst) <= 2)
    }

    @Test(arguments: kernelTableNames)
    func `exp is exact at its ends`(table: String) throws {
        #expect(try Self.exponentials(table, [0, -0.0]) == [1, 1])
        #expect(try Self.exponentials(table, [-.infinity, -104, -1e30, -.greatestFiniteMagnitude]) == [0, 0, 0, 0])
        #expect(try Self.exponentials(table, [.infinity, 88.73, 1e30]) == [.infinity, .infinity, .infinity])
        #expect(try Self.exponentials(table, Self.nans).allSatisfy { $0.isNaN })
        // Where the result is below the normal numbers it may be 0.
        let x = Array(stride(from: Float(-104), to: -87.336_55, by: 0.01))
        #expect(try Self.exponentials(table, x).allSatisfy { (0...Float.leastNormalMagnitude).contains($0) })
    }

    @Test(arguments: kernelTableNames)
    func `tanh is within three units in the last place`(table: String) throws {
        let x = Self.floats(upTo: 12) + Self.floats(upTo: -12)
        let y = try Self.map(kernelTable(table).tanh, x)
        let worst = zip(x, y).map { ulps($1, tanh(Double($0))) }.max()
        #expect(try #require(worst) <= 3)
        #expect(y.allSatisfy { $0.magnitude <= 1 })
    }

    @Test(arguments: kernelTableNames)
    func `tanh is exact at its ends`(table: String) throws {
        let tanh = try kernelTable(table).tanh
        #expect(try Self.map(tanh, [.infinity, 20, 1e30, -.infinity, -20, -1e30]) == [1, 1, 1, -1, -1, -1])
        #expect(try Self.map(tanh, [0, -0.0]).map(\.sign) == [.plus, .minus])
        #expect(try Self.map(tanh, Self.nans).allSatisfy { $0.isNaN })
    }

    @Test(arguments: kernelTableNames)
    func `silu is within four units in the last place`(table: String) throws {
        let x = Self.floats(upTo: 100) + Self.floats(upTo: -87)
        let worst = try zip(x, Self.map(kernelTable(table).silu, x)).map { x, y in
            ulps(y, Double(x) / (1 + exp(-Double(x))))
        }.max()
        #expect(try #require(worst) <= 4)
    }

    @Test(arguments: kernelTableNames)
    func `gelu with tanh is as close as its exponent is`(table: String) throws {
        let x = Self.floats(upTo: 20) + Self.floats(upTo: -9)
        for (x, y) in try zip(x, Self.map(kernelTable(table).gelu_tanh, x)) {
            let exact = Double(x)
            let twice = 2 * (2 / Double.pi).squareRoot() * (exact + 0.044_715 * exact * exact * exact)
            // A relative error of ε in an exponent u becomes one of |u| ε in exp(u); ε is two roundings here.
            #expect(ulps(y, exact / (1 + exp(-twice))) <= 4 + 2 * max(0, -twice), "\(x)")
        }
    }

    @Test(arguments: kernelTableNames)
    func `silu and gelu are exact at their ends`(table: String) throws {
        let kernels = try kernelTable(table)
        for kernel in [kernels.silu, kernels.gelu_tanh] {
            #expect(try Self.map(kernel, [-.infinity, -1e30, -200, 0]) == [0, 0, 0, 0])
            #expect(try Self.map(kernel, [.infinity, 1e30, 200]) == [.infinity, 1e30, 200])
            #expect(try Self.map(kernel, Self.nans).allSatisfy { $0.isNaN })
        }
    }

    @Test(arguments: kernelTableNames)
    func `soft cap agrees with Double and stays within the cap`(table: String) throws {
        let kernels = try kernelTable(table)
        for cap: Float in [1, 30, 50] {
            let x = Self.floats(upTo: 20 * cap) + Self.floats(upTo: -20 * cap)
            var y = x
            kernels.soft_cap(&y, y.count, cap)
            // The division and the product round once each, beside tanh's own error. Quotients below the
            // normal numbers have fewer digits.
            let worst = zip(x, y).map { x, y in
                abs(x / cap) < .leastNormalMagnitude
                    ? 0 : ulps(y, Double(cap) * tanh(Double(x) / Double(cap)))
            }.max()
            #expect(try #require(worst) <= 5)
            #expect(y.allSatisfy { $0.magnitude <= cap })
            var ends: [Float] = [.infinity, -.infinity, .nan]
            kernels.soft_cap(&ends, 3, cap)
            #expect(ends[0] == cap && ends[1] == -cap && ends[2].isNaN)
        }
    }

    @Test(arguments: kernelTableNames)
    func `maximum passes over NaN`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 5)
        for count in 0...140 {
            var x = (0..<count).map { _ in Float.random(in: -9...9, using: &generator) }
            #expect(kernels.maximum(x, count) == x.max() ?? -.infinity)
            if count > 1 {
                let position = Int.random(in: 0..<count, using: &generator)
                x[position] = .nan
                #expect(kernels.maximum(x, count) == x.filter { !$0.isNaN }.max())
                x[(position + 1) % count] = .infinity
                #expect(kernels.maximum(x, count) == .infinity)
            }
        }
        #expect(kernels.maximum([.nan, .nan], 2) == -.infinity)
        #expect(kernels.maximum([-.infinity, -.infinity, -.infinity], 3) == -.infinity)
    }

    @Test(arguments: kernelTableNames)
    func `exponentials and their sum agree with Double`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 6)
        for count in Array(0...70) + [131, 1_009] {
            let x = (0..<count).map { _ in Float.random(in: -20...3, using: &generator) }
            // A float on either side, to see that it is left alone.
            var memory = [guardValue] + x + [guardValue]
            let sum = memory.withUnsafeMutableBufferPointer { memory in
                kernels.exp_sum(memory.baseAddress.map { $0 + 1 }, count, 3)
            }
            #expect(memory.first == guardValue && memory.last == guardValue)
            let y = memory.dropFirst().dropLast()
            #expect(zip(x, y).allSatisfy { ulps($1, exp(Double($0 - 3))) <= 2 })
            let exact = y.reduce(0.0) { $0 + Double($1) }
            let plainError = abs(Double(y.reduce(Float(0), +)) - exact)
            #expect(abs(Double(sum) - exact) <= 2 * plainError + 4 * Double(Float(exact).ulp), "\(count)")
        }
    }

    @Test(arguments: kernelTableNames)
    func `a sum of exponentials shows what it is made of`(table: String) throws {
        let kernels = try kernelTable(table)
        for count in [1, 7, 8, 19, 33, 64] {
            var masked = [Float](repeating: -.infinity, count: count)
            #expect(kernels.exp_sum(&masked, count, 5) == 0)
            #expect(masked.allSatisfy { $0 == 0 })
            for position in 0..<count {
                var x = [Float](repeating: 0, count: count)
                x[position] = .nan
                #expect(kernels.exp_sum(&x, count, 0).isNaN)
                #expect(x.indices.allSatisfy { $0 == position ? x[$0].isNaN : x[$0] == 1 })
            }
            // The lanes that a part of a vector lacks take no part: 0 - (-∞) would show.
            var x = [Float](repeating: 0, count: count)
            #expect(kernels.exp_sum(&x, count, -.infinity) == .infinity)
        }
    }

    @Test(arguments: kernelTableNames)
    func `every count is written and no more`(table: String) throws {
        let kernels = try kernelTable(table)
        for count in 0...70 {
            let x = (0..<count).map { Float($0) / 7 - 4 }
            for kernel in [kernels.tanh, kernels.silu, kernels.gelu_tanh] {
                let kernel = try #require(kernel)
                var out = [Float](repeating: guardValue, count: count + 2)
                out.withUnsafeMutableBufferPointer { kernel($0.baseAddress.map { $0 + 1 }, x, count) }
                #expect(out.first == guardValue && out.last == guardValue)
                // In place, and alone: the same bits.
                var inPlace = x
                inPlace.withUnsafeMutableBufferPointer {
                    kernel($0.baseAddress, UnsafePointer($0.baseAddress), count)
                }
                #expect(inPlace == Array(out[1..<count + 1]))
                #expect(try x.map { try Self.map(kernel, [$0])[0] } == inPlace)
            }
            var scaled = [guardValue] + x + [guardValue]
            scaled.withUnsafeMutableBufferPointer { kernels.scale($0.baseAddress.map { $0 + 1 }, count, 0.3) }
            #expect(scaled == [guardValue] + x.map { 0.3 * $0 } + [guardValue])
            var capped = [guardValue] + x + [guardValue]
            capped.withUnsafeMutableBufferPointer {
                kernels.soft_cap($0.baseAddress.map { $0 + 1 }, count, 2)
            }
            #expect(capped.first == guardValue && capped.last == guardValue)
        }
    }

    @Test func `functions in Double agree with the C library`() throws {
        let kernels = try #require(sattn_kernels_float64_current()).pointee
        let x = [-3.5, -1, 0, 0.25, 2]
        #expect(kernels.maximum(x, 5) == 2)
        #expect(kernels.maximum([.nan, 1], 2) == 1)
        var exponentials = x
        #expect(abs(kernels.exp_sum(&exponentials, 5, 1) - x.reduce(0) { $0 + exp($1 - 1) }) <= 1e-15)
        #expect(exponentials == x.map { exp($0 - 1) })
        var scaled = x
        kernels.scale(&scaled, 5, 0.1)
        #expect(scaled == x.map { 0.1 * $0 })
        var capped = x
        kernels.soft_cap(&capped, 5, 2)
        #expect(capped == x.map { 2 * tanh($0 / 2) })
    }

    @Test(arguments: kernelTableNames, [1, 7, 16, 17, 31, 384])
    func `layer_norm normalises a row, in place too`(table: String, count: Int) throws {
        let kernel = try #require(try kernelTable(table).layer_norm)
        var random = SeededGenerator(seed: UInt64(count))
        // Far from 0, where squares of float32 would cancel.
        let x = random.floats(count).map { 1000 + $0 }
        let (weight, bias) = (random.floats(count), random.floats(count))
        let mean = x.reduce(0.0) { $0 + Double($1) } / Double(count)
        let variance = x.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(count)
        let factor = 1 / (variance + 1e-3).squareRoot()
        for hasBias in [true, false] {
            var out = x + [guardValue]
            var statistics = [0.0, 0.0]
            out.withUnsafeMutableBufferPointer {
                kernel($0.baseAddress, $0.baseAddress, weight, hasBias ? bias : nil, count, 1e-3, &statistics)
            }
            #expect(abs(statistics[0] - mean) < 1e-9 && abs(statistics[1] - factor) < 1e-9 * factor)
            #expect(out[count] == guardValue)
            for column in 0..<count {
                let expected =
                    (Double(x[column]) - mean) * factor * Double(weight[column])
                    + (hasBias ? Double(bias[column]) : 0)
                #expect(abs(Double(out[column]) - expected) < 1e-6 * max(1, abs(expected)))
            }
        }
    }
}
