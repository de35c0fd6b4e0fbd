import Synchronization

/// A tensor's place in what was recorded: what it was computed from, and how its gradient reaches that.
///
/// Reverse mode, recorded while the forward pass runs. A node is made by ``Tensor/tracked()``, without inputs, and by
/// every operation with a tracked operand.
final class GradientNode: @unchecked Sendable {
    // Safe: `inputs` is written in `deinit` alone, when nobody else holds the node.

    /// Returns the gradient of each input, `nil` where `isWanted` is false or there is none.
    typealias Backward = @Sendable (_ gradient: Tensor, _ isWanted: [Bool]) -> [Tensor?]

    /// Later operations have higher numbers, so that descending order is an order to go back in.
    let order: Int
    private(set) var inputs: [GradientNode?]
    let backward: Backward?
    /// The type that its gradient has: every backward function takes it for granted.
    let gradientType: ElementType

    private static let count = Atomic(0)

    init(gradientType: ElementType, inputs: [GradientNode?] = [], backward: Backward? = nil) {
        self.gradientType = gradientType
        order = Self.count.add(1, ordering: .relaxed).newValue
        self.inputs = inputs
        self.backward = backward
    }

    deinit {
        // Released one inside the other, the nodes of a long sequence would overflow the stack.
        var pending = inputs
        inputs = []
        while !pending.isEmpty {
            guard var node = pending.removeLast() else { continue }
            if isKnownUniquelyReferenced(&node) {
                pending += node.inputs
                node.inputs = []
            }
        }
    }
}

/// Whether operations on tracked tensors are recorded.
enum GradientRecording {
    @TaskLocal static var isOn = true
}

/// Runs `body` without recording what gradients would need.
///
/// - Parameter body: What to run; the tensors that it makes are not tracked.
/// - Returns: What `body` returns.
/// - Throws: What `body` throws.
public func withoutGradients<Result>(_ body: () throws -> Result) rethrows -> Result {
    try GradientRecording.$isOn.withValue(false, operation: body)
}

/// Whether an operation on these operands has to be recorded.
func isRecorded(_ operands: [Tensor?]) -> Bool {
    operands.contains { $0?.node != nil } && GradientRecording.isOn
}

extension Tensor {
    /// Returns the same elements as a tensor whose gradient can be asked for: see ``gradients(of:seed:)``.
    ///
    /// - Returns: A tensor that operations record, with no past.
    public func tracked() -> Tensor {
        require(elementType.isFloatingPoint, "A tensor of \(elementType) has no gradient.")
        return with(node: GradientNode(gradientType: gradientType))
    }

    /// The same elements without a past: no gradient passes through.
    public var detached: Tensor { node == nil ? self : with(node: nil) }

    /// Whether operations on the tensor are recorded.
    public var isTracked: Bool { node != nil }

    /// Returns this result with the way back to its operands, if any of them is tracked.
    ///
    /// `operands` are what it was computed from, `nil` for those that are absent. `backward` returns the gradient of each,
    /// of its shape, from the result's; it holds `detached` tensors only, since a tracked one would hold its whole past a
    /// second time.
    func recorded(from operands: [Tensor?], backward: @escaping GradientNode.Backward) -> Tensor {
        guard isRecorded(operands) else { return detached }
        return with(
            node: GradientNode(gradientType: gradientType, inputs: operands.map { $0?.node }, backward: backward))
    }

    func with(node: GradientNode?) -> Tensor {
        Tensor(
            shape: shape, strides: strides, elementType: elementType, storage: storage, offset: offset, node: node)
    }

    /// Returns the derivatives of this number with respect to tracked tensors.
    ///
    /// What was recorded is gone through once, backwards; only what lies between this tensor and `tensors` is
    /// computed. The sums are made in a fixed order: they have the same bits for any number of threads.
    ///
    /// - Parameters:
    ///   - tensors: Tracked tensors.
    ///   - seed: The gradient of this tensor, of its shape; `nil` means 1, which needs a tensor of one element.
    /// - Returns: A gradient for each tensor, of its shape and type (float32 for half types); zeros where this tensor
    ///   does not depend on it.
    public func gradients(of tensors: [Tensor], seed: Tensor? = nil) -> [Tensor] {
        require(
            seed != nil || elementCount == 1, "A tensor of shape \(shape) is not one number: give the seed's gradient.")
        require(seed == nil || seed?.shape == shape, "The seed is \(seed?.shape ?? []), not \(shape).")
        let seed =
            seed?.detached.converted(to: gradientType) ?? Tensor(filledWith: 1, shape: shape, elementType: gradientType)
        return withoutGradients {
            let wanted = tensors.map { tensor -> ObjectIdentifier? in
                require(tensor.isTracked, "A tensor of shape \(tensor.shape) is not tracked.")
                return tensor.node.map(ObjectIdentifier.init)
            }
            let found = node.map { Backpropagation(from: $0, seed: seed, to: Set(wanted.compactMap { $0 })).gradients }
            return zip(tensors, wanted).map { tensor, id in
                let gradient =
                    id.flatMap { found?[$0] } ?? Tensor(zeros: tensor.shape, elementType: tensor.gradientType)
                require(
                    gradient.shape == tensor.shape,
                    "A gradient of shape \(gradient.shape) reached a tensor of shape \(tensor.shape).")
                return gradient
            }
        }
    }

    /// The type of its gradient: float64 for float64, else float32.
    package var gradientType: ElementType { elementType == .float64 ? .float64 : .float32 }
}

/// One way back through what was recorded.
private struct Backpropagation {
    private(set) var gradients: [ObjectIdentifier: Tensor] = [:]

    init(from end: GradientNode, seed: Tensor, to targets: Set<ObjectIdentifier>) {
        let nodes = Self.nodes(between: end, and: targets)
        let needed = Set(nodes.map(ObjectIdentifier.init))
        guard needed.contains(ObjectIdentifier(end)) else { return }
        gradients[ObjectIdentifier(end)] = seed
        for node in nodes {
            let id = ObjectIdentifier(node)
            guard let backward = node.backward, let gradient = gradients[id] else { continue }
            if !targets.contains(id) { gradients[id] = nil }
            let isWanted = node.inputs.map { $0.map { needed.contains(ObjectIdentifier($0)) } ?? false }
            guard isWanted.contains(true) else { continue }
            let inputGradients = backward(gradient, isWanted)
            for (index, input) in node.inputs.enumerated() where isWanted[index] {
                guard let input, let inputGradient = inputGradients[index] else { continue }
                // An operation computes in float32 as soon as one of its operands is that.
                Self.add(
                    inputGradient.converted(to: input.gradientType), to: &gradients[ObjectIdentifier(input)])
            }
        }
    }

    /// Returns the nodes from which a target is reached, the last made first.
    private static func nodes(between end: GradientNode, and targets: Set<ObjectIdentifier>) -> [GradientNode] {
        var reached: [ObjectIdentifier: GradientNode] = [:]
        var pending = [end]
        while let node = pending.popLast() {
            guard reached.updateValue(node, forKey: ObjectIdentifier(node)) == nil else { continue }
            for case let input? in node.inputs where reached[ObjectIdentifier(input)] == nil { pending.append(input) }
        }
        // Inputs are older than what was computed from them: in ascending order they are decided first.
        var needed: Set<ObjectIdentifier> = []
        var nodes: [GradientNode] = []
        for node in reached.values.sorted(by: { $0.order < $1.order }) {
            let leads = node.inputs.contains { $0.map { needed.contains(ObjectIdentifier($0)) } ?? false }
            if leads || targets.contains(ObjectIdentifier(node)) {
                needed.insert(ObjectIdentifier(node))
                nodes.append(node)
            }
        }
        return nodes.reversed()
    }

    private static func add(_ gradient: Tensor, to sum: inout Tensor?) {
        guard var current = sum else {
            sum = gradient
            return
        }
        // Given up here, so that it may be written in place.
        sum = nil
        current.add(gradient)
        sum = current
    }
}
