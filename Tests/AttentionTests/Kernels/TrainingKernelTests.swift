import CAttentionKernels
import Foundation
import TestSupport
import Testing

@Suite struct `Kernels of training` {
    typealias Function = @convention(c) (UnsafeMutablePointer<Float>?, UnsafePointer<Float>?, Int) -> Void
    typealias FunctionOfTwo =
        @convention(c) (
            UnsafeMutablePointer<Float>?, UnsafePointer<Float>?, UnsafePointer<Float>?, Int
        ) -> Void

    /// From one bound to another, and every size near 0.
    private static func floats(from lower: Float, to upper: Float) -> [Float] {
        let sweep = (0...40_000).map { lower + (upper - lower) * Float($0) / 40_000 }
        let small = (0..<60).map { Float(sign: .plus, exponent: -$0, significand: 1.37) }
        return sweep + small + small.map { -$0 }
    }

    private static func map(_ kernel: Function?, _ x: [Float]) throws -> [Float] {
        let kernel = try #require(kernel)
        var out = [Float](repeating: guardValue, count: x.count + 1)
        kernel(&out, x, x.count)
        #expect(out.last == guardValue)
        return out.dropLast()
    }

    private static func map(_ kernel: FunctionOfTwo?, _ x: [Float], _ y: [Float]) throws -> [Float] {
        let kernel = try #require(kernel)
        var out = [Float](repeating: guardValue, count: x.count + 1)
        kernel(&out, x, y, x.count)
        #expect(out.last == guardValue)
        return out.dropLast()
    }

    private static func normal(_ x: Double) -> Double { 0.5 * erfc(-x * 0.5.squareRoot()) }
    private static func density(_ x: Double) -> Double { exp(-x * x / 2) / (2 * Double.pi).squareRoot() }
    private static func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

    @Test(arguments: kernelTableNames)
    func `sigmoid is within three units in the last place`(table: String) throws {
        let x = Self.floats(from: -87, to: 30)
        let worst = try zip(x, Self.map(kernelTable(table).sigmoid, x)).map { ulps($1, Self.sigmoid(Double($0))) }.max()
        #expect(try #require(worst) <= 3)
    }

    @Test(arguments: kernelTableNames)
    func `exact gelu is within five units in the last place, to the end of its tail`(table: String) throws {
        let x = Self.floats(from: -12, to: 12)
        let worst = try zip(x, Self.map(kernelTable(table).gelu, x)).map {
            ulps($1, Double($0) * Self.normal(Double($0)))
        }
        .max()
        #expect(try #require(worst) <= 5)
    }

    @Test(arguments: kernelTableNames)
    func `functions are exact at their ends`(table: String) throws {
        let kernels = try kernelTable(table)
        let ends: [Float] = [-.infinity, -1e30, -200, 0, 200, 1e30, .infinity]
        #expect(try Self.map(kernels.sigmoid, ends) == [0, 0, 0, 0.5, 1, 1, 1])
        #expect(try Self.map(kernels.relu, ends) == [0, 0, 0, 0, 200, 1e30, .infinity])
        #expect(try Self.map(kernels.gelu, ends) == [0, 0, 0, 0, 200, 1e30, .infinity])
        for kernel in [kernels.sigmoid, kernels.relu, kernels.gelu] {
            #expect(try Self.map(kernel, [.nan, -.nan]).allSatisfy { $0.isNaN })
        }
        let ones = [Float](repeating: 1, count: ends.count)
        for kernel in [kernels.silu_gradient, kernels.gelu_gradient, kernels.gelu_tanh_gradient] {
            let slopes = try Self.map(kernel, ends, ones)
            #expect(slopes.map(\.magnitude) == [0, 0, 0, 0.5, 1, 1, 1])
            #expect(try Self.map(kernel, [.nan], [1])[0].isNaN)
            #expect(try Self.map(kernel, [1], [.nan])[0].isNaN)
        }
        #expect(try Self.map(kernels.relu_gradient, ends, ones) == [0, 0, 0, 0, 1, 1, 1])
    }

    @Test(arguments: kernelTableNames)
    func `gradients agree with Double`(table: String) throws {
        let kernels = try kernelTable(table)
        let inputs = Self.floats(from: -11, to: 11)
        let results = Self.floats(from: -1, to: 1)
        let gradient = inputs.indices.map { Float($0 % 7) - 3.25 }
        let root = (2 / Double.pi).squareRoot()
        let slopes: [(String, FunctionOfTwo?, (Double) -> Double)] = [
            ("tanh", kernels.tanh_gradient, { 1 - $0 * $0 }),
            ("sigmoid", kernels.sigmoid_gradient, { $0 * (1 - $0) }),
            ("relu", kernels.relu_gradient, { $0 > 0 ? 1 : 0 }),
            ("silu", kernels.silu_gradient, { Self.sigmoid($0) * (1 + $0 * (1 - Self.sigmoid($0))) }),
            ("gelu", kernels.gelu_gradient, { Self.normal($0) + $0 * Self.density($0) }),
            (
                "gelu_tanh", kernels.gelu_tanh_gradient,
                {
                    let s = Self.sigmoid(2 * root * ($0 + 0.044_715 * $0 * $0 * $0))
                    return s + $0 * s * (1 - s) * 2 * root * (1 + 3 * 0.044_715 * $0 * $0)
                }
            ),
        ]
        for (name, kernel, slope) in slopes {
            let x = ["tanh", "sigmoid"].contains(name) ? results : inputs
            for (index, value) in try Self.map(kernel, x, gradient).enumerated() {
                let exact = Double(gradient[index]) * slope(Double(x[index]))
                // Slopes cross 0, and are no larger than about 1, or 2 at a negative y; 1 - σ(x) is rounded before it
                // meets x.
                let scale = Double(gradient[index].magnitude) * max(1, Double(x[index] * x[index]))
                if !(abs(Double(value) - exact) <= 4 * 0x1p-24 * scale) {
                    Issue.record("\(name) at \(x[index]): \(value), not \(exact)")
                    break
                }
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `sums, differences and products are rounded once`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 41)
        for count in 0...70 {
            let (x, y) = (generator.floats(count), generator.floats(count))
            #expect(try Self.map(kernels.add, x, y) == zip(x, y).map(+))
            #expect(try Self.map(kernels.subtract, x, y) == zip(x, y).map(-))
            #expect(try Self.map(kernels.multiply, x, y) == zip(x, y).map(*))
        }
    }

    @Test(arguments: kernelTableNames)
    func `every count is written, in place and alone with the same bits`(table: String) throws {
        let kernels = try kernelTable(table)
        for count in [1, 3, 8, 15, 16, 17, 33, 67] {
            let x = (0..<count).map { Float($0) / 7 - 4 }
            let y = x.map { 1 - $0 }
            for kernel in [kernels.sigmoid, kernels.relu, kernels.gelu] {
                let out = try Self.map(kernel, x)
                #expect(try x.map { try Self.map(kernel, [$0])[0] } == out)
                var inPlace = x
                inPlace.withUnsafeMutableBufferPointer { kernel?($0.baseAddress, UnsafePointer($0.baseAddress), count) }
                #expect(inPlace == out)
            }
            for kernel in [
                kernels.tanh_gradient, kernels.sigmoid_gradient, kernels.relu_gradient, kernels.silu_gradient,
                kernels.gelu_gradient, kernels.gelu_tanh_gradient, kernels.add, kernels.subtract, kernels.multiply,
            ] {
                let out = try Self.map(kernel, x, y)
                #expect(try zip(x, y).map { try Self.map(kernel, [$0], [$1])[0] } == out)
                var inPlace = y
                inPlace.withUnsafeMutableBufferPointer {
                    kernel?($0.baseAddress, x, UnsafePointer($0.baseAddress), count)
                }
                #expect(inPlace == out)
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `sums of squares are made in Double`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 42)
        for count in [0, 1, 7, 16, 19, 1009] {
            let x = generator.floats(count, bound: 3)
            let exact = x.reduce(0.0) { $0 + Double($1) * Double($1) }
            #expect(abs(kernels.sum_of_squares(x, count) - exact) <= 1e-14 * exact)
        }
        #expect(kernels.sum_of_squares([1e30, 1e30], 2) == Double(Float(1e30)) * Double(Float(1e30)) * 2)
        #expect(kernels.sum_of_squares([0, .nan], 2).isNaN)
    }

    @Test(arguments: kernelTableNames)
    func `steps of Adam agree with Double`(table: String) throws {
        let kernels = try kernelTable(table)
        let exactly = try #require(sattn_kernels_float64_current()).pointee
        var generator = SeededGenerator(seed: 43)
        let count = 67
        let (start, gradient) = (generator.floats(count), generator.floats(count))
        var (parameter, first, second) = (start, generator.floats(count), generator.floats(count).map(\.magnitude))
        var (exact, exactFirst, exactSecond) = (start.map(Double.init), first.map(Double.init), second.map(Double.init))
        for decoupled in [true, false] {
            var step = sattn_adam(
                gradient_scale: 0.75, added_decay: decoupled ? 0 : 0.125, kept: decoupled ? 0.9375 : 1,
                first_share: 0.125,
                second_kept: 0.9375, second_share: 0.0625, step_size: 0.03125, inverse_root_correction: 1.5,
                epsilon: 0x1p-20)
            var exactStep = sattn_adam_float64(
                gradient_scale: 0.75, added_decay: decoupled ? 0 : 0.125, kept: decoupled ? 0.9375 : 1,
                first_share: 0.125,
                second_kept: 0.9375, second_share: 0.0625, step_size: 0.03125, inverse_root_correction: 1.5,
                epsilon: 0x1p-20)
            kernels.adam_step(&parameter, gradient, &first, &second, count, &step)
            exactly.adam_step(&exact, gradient.map(Double.init), &exactFirst, &exactSecond, count, &exactStep)
        }
        #expect(zip(parameter, exact).allSatisfy { abs(Double($0) - $1) <= 1e-6 })
        #expect(zip(first, exactFirst).allSatisfy { abs(Double($0) - $1) <= 1e-6 })
        #expect(zip(second, exactSecond).allSatisfy { abs(Double($0) - $1) <= 1e-6 })
    }

    @Test(arguments: kernelTableNames)
    func `steps with momentum agree with Double`(table: String) throws {
        let kernels = try kernelTable(table)
        let exactly = try #require(sattn_kernels_float64_current()).pointee
        var generator = SeededGenerator(seed: 44)
        let count = 67
        let (start, gradient) = (generator.floats(count), generator.floats(count))
        var (parameter, velocity) = (start, generator.floats(count))
        var (exact, exactVelocity) = (start.map(Double.init), velocity.map(Double.init))
        for nesterov in [true, false] {
            var step = sattn_momentum(
                gradient_scale: 0.75, added_decay: 0.125, learning_rate: 0.0625, momentum: 0.875, is_nesterov: nesterov)
            var exactStep = sattn_momentum_float64(
                gradient_scale: 0.75, added_decay: 0.125, learning_rate: 0.0625, momentum: 0.875, is_nesterov: nesterov)
            kernels.momentum_step(&parameter, gradient, &velocity, count, &step)
            exactly.momentum_step(&exact, gradient.map(Double.init), &exactVelocity, count, &exactStep)
            // Without a velocity.
            kernels.momentum_step(&parameter, gradient, nil, count, &step)
            exactly.momentum_step(&exact, gradient.map(Double.init), nil, count, &exactStep)
        }
        #expect(zip(parameter, exact).allSatisfy { abs(Double($0) - $1) <= 1e-6 })
        #expect(zip(velocity, exactVelocity).allSatisfy { abs(Double($0) - $1) <= 1e-6 })
    }
}
