import Attention
import TestSupport
import Testing

@Suite struct `Optimizer steps` {
    // Ten steps down Σ w (p - t)² + Σ sin p, by PyTorch in float64:
    //
    //     p = torch.tensor([0.5, -1.25, 2.0, 0.03125], requires_grad=True); o = make([p])
    //     for step in range(10):
    //         o.zero_grad()
    //         (((p - torch.tensor([1., 2., -3., .5]))**2 * torch.tensor([.5, 1., 2., .1])).sum() + p.sin().sum()).backward()
    //         o.step()
    private static let start = [0.5, -1.25, 2.0, 0.03125]

    /// The parameters after ten calls of `step` with the loss's gradient.
    private func descend(as type: ElementType, _ step: (_ parameter: inout Tensor, _ gradient: Tensor, Int) -> Void)
        -> [Double]
    {
        var parameter = Tensor(Self.start, shape: [2, 2]).converted(to: type)
        for count in 1...10 {
            let gradient = zip(parameter.doubles, zip([1, 2, -3, 0.5], [0.5, 1, 2, 0.1])).map { p, target in
                2 * target.1 * (p - target.0) + cosine(p)
            }
            step(&parameter, Tensor(gradient, shape: [2, 2]).converted(to: type), count)
        }
        return parameter.doubles
    }

    /// By its series: the arguments are small.
    private func cosine(_ x: Double) -> Double {
        var (sum, term) = (1.0, 1.0)
        for k in 1...30 {
            term *= -x * x / Double((2 * k - 1) * 2 * k)
            sum += term
        }
        return sum
    }

    private func isNear(_ numbers: [Double], _ expected: [Double], _ type: ElementType) -> Bool {
        zip(numbers, expected).allSatisfy { abs($0 - $1) <= (type == .float64 ? 1e-10 : 1e-5) }
    }

    @Test(arguments: [ElementType.float32, .float64])
    func `of Adam are PyTorch's`(type: ElementType) {
        // torch.optim.Adam(p, lr=0.05, weight_decay=0.1)
        var (first, second) = (Tensor(zeros: [2, 2], elementType: type), Tensor(zeros: [2, 2], elementType: type))
        let result = descend(as: type) { parameter, gradient, count in
            parameter.adamStep(
                gradient: gradient, firstMoment: &first, secondMoment: &second, learningRate: 0.05, beta1: 0.9,
                beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1, isDecayDecoupled: false, stepCount: count)
        }
        #expect(isNear(result, [0.0316393066005, -0.754617988585, 1.50136244659, -0.463948006056], type))
    }

    @Test(arguments: [ElementType.float32, .float64])
    func `of AdamW are PyTorch's`(type: ElementType) {
        // torch.optim.AdamW(p, lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
        var (first, second) = (Tensor(zeros: [2, 2], elementType: type), Tensor(zeros: [2, 2], elementType: type))
        let result = descend(as: type) { parameter, gradient, count in
            // The gradient comes four times too large, as one that is clipped does.
            parameter.adamStep(
                gradient: gradient * 4, firstMoment: &first, secondMoment: &second, learningRate: 0.05, beta1: 0.8,
                beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1, stepCount: count, gradientScale: 0.25)
        }
        #expect(isNear(result, [0.032178281912, -0.70755565203, 1.41573094299, -0.45382755602], type))
    }

    @Test(arguments: [ElementType.float32, .float64])
    func `of gradient descent are PyTorch's, with and without momentum`(type: ElementType) {
        // torch.optim.SGD(p, lr=0.05, weight_decay=0.1)
        let plain = descend(as: type) { parameter, gradient, _ in
            parameter.sgdStep(gradient: gradient, learningRate: 0.05, weightDecay: 0.1)
        }
        #expect(isNear(plain, [0.315972762725, 0.584191819551, -2.3895755169, -0.383938074974], type))
        // torch.optim.SGD(p, lr=0.05, momentum=0.9)
        var velocity = Tensor(zeros: [2, 2], elementType: type)
        let heavy = descend(as: type) { parameter, gradient, _ in
            parameter.sgdStep(gradient: gradient, velocity: &velocity, learningRate: 0.05, momentum: 0.9)
        }
        #expect(isNear(heavy, [-0.0800953266257, 4.05991142884, -3.26571543222, -1.44954146181], type))
        // torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1)
        velocity = Tensor(zeros: [2, 2], elementType: type)
        let nesterov = descend(as: type) { parameter, gradient, _ in
            parameter.sgdStep(
                gradient: gradient, velocity: &velocity, learningRate: 0.05, momentum: 0.9, isNesterov: true,
                weightDecay: 0.1)
        }
        #expect(isNear(nesterov, [-0.111209177499, 3.35752266683, -2.4266286301, -1.3760665977], type))
    }

    @Test func `leave copies of the parameter and of the moments as they were`() {
        var parameter = Tensor([1, 2] as [Float], shape: [2])
        var (first, second) = (Tensor(zeros: [2]), Tensor(zeros: [2]))
        let copies = [parameter, first, second]
        parameter.adamStep(
            gradient: Tensor([3, 4] as [Float], shape: [2]), firstMoment: &first, secondMoment: &second,
            learningRate: 0.1,
            beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, stepCount: 1)
        #expect(copies.map(\.floats) == [[1, 2], [0, 0], [0, 0]])
        #expect(parameter.floats != [1, 2] && first.floats != [0, 0] && second.floats != [0, 0])
    }

    @Test func `with a gradient of another shape stop the program`() async {
        await #expect(processExitsWith: .failure) {
            var parameter = Tensor([1, 2] as [Float], shape: [2])
            parameter.sgdStep(gradient: Tensor([1] as [Float], shape: [1]), learningRate: 1)
        }
    }

    @Test func `sums of squares and scaling take every element of many pieces`() {
        var generator = SeededGenerator(seed: 61)
        let count = 40_009
        let numbers = generator.floats(count)
        var x = Tensor(numbers, shape: [count])
        let exact = numbers.reduce(0.0) { $0 + Double($1) * Double($1) }
        #expect(abs(x.sumOfSquares() - exact) <= 1e-12 * exact)
        x.scale(by: -0.5)
        #expect(x.floats == numbers.map { -0.5 * $0 })
        #expect(Tensor([3, 4] as [Double], shape: [2]).sumOfSquares() == 25)
    }
}
