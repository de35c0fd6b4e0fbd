import Attention
import ModelFiles

/// One node of an ONNX graph with its inputs and the outputs that ONNX expects of it.
struct ONNXNode {
    let operatorName: String
    let opset: Int
    let attributes: JSONObject
    /// By position in the operator's signature; `nil` where absent.
    let inputs: [Tensor?]
    /// The expected outputs by position; `nil` where not asked for.
    let outputs: [Tensor?]
    private let tolerance: Tolerance

    /// Reads a node.
    ///
    /// - Throws: When something is missing, malformed, or a tensor stands for no declared input or output.
    init(_ file: SafetensorsFile) throws {
        func metadata(_ key: String) throws -> String {
            guard let value = file.metadataValue(key) else {
                throw ConformanceProblem("The metadata has no '\(key)'.")
            }
            return value
        }
        func json(_ key: String) throws -> JSONValue {
            try JSONValue(parsing: Array(metadata(key).utf8))
        }
        func number(_ key: String) throws -> Double {
            guard let number = Double(try metadata(key)), number >= 0 else {
                throw ConformanceProblem("The metadata's '\(key)' is no number from 0 on.")
            }
            return number
        }
        /// The tensors of `inputs` or `outputs`, whose names are "" where a tensor is absent.
        func tensors(_ names: String, _ prefix: String) throws -> [Tensor?] {
            guard let names = try json(names).arrayValue?.map(\.stringValue) else {
                throw ConformanceProblem("The metadata's '\(names)' is no list.")
            }
            return try names.enumerated().map { index, name in
                if name == "" { return nil }
                let shape = try json("shape:\(prefix).\(index)").arrayValue?.compactMap {
                    $0.integerValue.map { Int($0) }
                }
                return try Tensor(file.requireTensor(named: "\(prefix).\(index)"), shape: shape)
            }
        }
        operatorName = try metadata("operator")
        guard let opset = Int(try metadata("opset")) else {
            throw ConformanceProblem("The metadata's 'opset' is no integer.")
        }
        self.opset = opset
        guard let object = try json("attributes").objectValue else {
            throw ConformanceProblem("The metadata's 'attributes' are no object.")
        }
        attributes = object
        inputs = try tensors("inputs", "input")
        outputs = try tensors("outputs", "output")
        guard file.tensors.count == (inputs + outputs).count(where: { $0 != nil }),
            outputs.contains(where: { $0 != nil })
        else {
            throw ConformanceProblem("The tensors \(file.tensors.map(\.name)) are not those declared.")
        }
        tolerance = Tolerance(relative: try number("rtol"), absolute: try number("atol"))
    }

    /// Runs the node and returns what is wrong: nothing if every output is as expected.
    ///
    /// - Throws: When the node asks for what its operator does not have.
    func problems() throws -> [String] {
        guard let onnxOperator = ONNXOperator.all[operatorName] else {
            throw ConformanceProblem("Nothing is known of the operator '\(operatorName)'.")
        }
        guard onnxOperator.opsets.contains(opset) else {
            throw ConformanceProblem(
                "\(operatorName) is defined here for the opsets \(onnxOperator.opsets), not \(opset).")
        }
        for (name, _) in attributes.members where !onnxOperator.attributes.contains(name) {
            throw ConformanceProblem("\(operatorName) has no attribute '\(name)'.")
        }
        guard inputs.count <= onnxOperator.inputCount, outputs.count <= onnxOperator.outputCount else {
            throw ConformanceProblem(
                "\(operatorName) has no \(inputs.count) inputs and \(outputs.count) outputs.")
        }
        let results = try onnxOperator.run(self)
        let unit = try unitOfCoarsestType()
        return outputs.enumerated().compactMap { index, expected in
            guard let expected else { return nil }
            guard results.indices.contains(index), let result = results[index] else {
                return "Output \(index) is missing."
            }
            let tolerance = tolerance.suited(to: expected, unit: unit)
            return difference(of: result, from: expected, within: tolerance).map { "Output \(index) \($0)." }
        }
    }

    /// The unit in the last place, at 1, of the coarsest type that ONNX computes the case in, float32 at the finest:
    /// its own tolerances are for float32.
    private func unitOfCoarsestType() throws -> Double {
        var types = (inputs + outputs).compactMap { $0?.elementType }
        for name in ["softmax_precision", "stash_type"] {
            if let type = try elementType(name) { types.append(type) }
        }
        return types.contains(.bfloat16) ? 0x1p-7 : types.contains(.float16) ? 0x1p-10 : 0x1p-23
    }

    // MARK: - Inputs and attributes

    /// The input at a position of the operator's signature, or `nil` if it is absent.
    func input(_ index: Int) -> Tensor? {
        inputs.indices.contains(index) ? inputs[index] : nil
    }

    /// The input at a position of the operator's signature.
    func requiredInput(_ index: Int) throws -> Tensor {
        guard let input = input(index) else { throw ConformanceProblem("Input \(index) is missing.") }
        return input
    }

    /// An attribute that is an integer, or `nil` if it is absent.
    func integer(_ name: String) throws -> Int? {
        guard let value = attributes[name] else { return nil }
        guard let integer = value.integerValue else { throw ConformanceProblem("'\(name)' is no integer.") }
        return Int(integer)
    }

    /// An attribute that is a list of integers, or `nil` if it is absent.
    func integers(_ name: String) throws -> [Int]? {
        guard let value = attributes[name] else { return nil }
        let integers = value.arrayValue?.compactMap { $0.integerValue.map { Int($0) } }
        guard let integers, integers.count == value.arrayValue?.count else {
            throw ConformanceProblem("'\(name)' is no list of integers.")
        }
        return integers
    }

    /// An attribute that is text, or `nil` if it is absent.
    func string(_ name: String) throws -> String? {
        guard let value = attributes[name] else { return nil }
        guard let string = value.stringValue else { throw ConformanceProblem("'\(name)' is no text.") }
        return string
    }

    /// An attribute that is 0 or 1; 0 if it is absent.
    func flag(_ name: String) throws -> Bool {
        let value = try integer(name) ?? 0
        guard value == 0 || value == 1 else { throw ConformanceProblem("'\(name)' is \(value), not 0 or 1.") }
        return value == 1
    }

    /// An attribute that is a number, or `nil` if it is absent.
    func number(_ name: String) throws -> Double? {
        guard let value = attributes[name] else { return nil }
        guard let number = value.doubleValue else { throw ConformanceProblem("'\(name)' is no number.") }
        return number
    }

    /// An attribute that is the number of a type in ONNX, or `nil` if it is absent.
    func elementType(_ name: String) throws -> ElementType? {
        switch try integer(name) {
        case nil: nil
        case 1: .float32
        case 10: .float16
        case 11: .float64
        case 16: .bfloat16
        case let other?: throw ConformanceProblem("'\(name)' is the type \(other), which holds no numbers.")
        }
    }

    /// The attribute `axis`, within the rank of the tensor.
    func axis(of tensor: Tensor) throws -> Int {
        let axis = try integer("axis") ?? -1
        guard (-tensor.rank..<tensor.rank).contains(axis) else {
            throw ConformanceProblem("The axis \(axis) does not exist in \(tensor.shape).")
        }
        return axis < 0 ? axis + tensor.rank : axis
    }
}

/// What an ONNX operator is, in terms of the library.
struct ONNXOperator: Sendable {
    /// The opsets whose definition this is; the last is that of onnx 1.23.
    let opsets: ClosedRange<Int>
    let attributes: [String]
    let inputCount: Int
    let outputCount: Int
    /// Returns the outputs by position.
    let run: @Sendable (ONNXNode) throws -> [Tensor?]

    init(
        since opset: Int, attributes: [String], inputCount: Int, outputCount: Int,
        run: @escaping @Sendable (ONNXNode) throws -> [Tensor?]
    ) {
        opsets = opset...28
        self.attributes = attributes
        self.inputCount = inputCount
        self.outputCount = outputCount
        self.run = run
    }

    /// The operators by ONNX's names.
    static let all: [String: ONNXOperator] = [
        "Attention": .attention,
        "CausalConvWithState": .causalConvWithState,
        "Conv": .conv,
        "GRU": .gru,
        "Gelu": .gelu,
        "LSTM": .lstm,
        "LayerNormalization": .layerNormalization,
        "LinearAttention": .linearAttention,
        "RMSNormalization": .rmsNormalization,
        "RNN": .rnn,
        "RotaryEmbedding": .rotaryEmbedding,
        "Softmax": .softmax,
    ]
}
