public func crossEntropy(_ logits: Tensor, targets: [Int]) -> Tensor { stop("\(targets.count)") }
extension Tensor {
    package mutating func scale(by: Double) {}
    package func sumOfSquares() -> Double { 0 }
    package mutating func sgdStep(gradient: Tensor, learningRate: Double) {}
    package mutating func sgdStep(gradient: Tensor, velocity: inout Tensor, learningRate: Double, momentum: Double) {}
    package mutating func adamStep(gradient: Tensor, firstMoment: inout Tensor, secondMoment: inout Tensor, learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double, stepCount: Int) {}
}
