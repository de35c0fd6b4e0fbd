public import Attention

/// A part of a model that has parameters: a layer, or a model of layers.
///
/// A layer is a value; its parameters are plain tensors. To differentiate, make a ``tracked()`` copy, compute a loss with
/// it, and ask for the loss's gradients of the copy's parameters.
public protocol Layer: Sendable {
    /// Calls `visit` with the name of each parameter and the parameter itself, which it may replace, in a fixed order.
    ///
    /// - Parameter visit: Gets PyTorch's name, the names of layers within layers joined by dots.
    /// - Throws: What `visit` throws.
    mutating func visitParameters(
        _ visit: (_ name: String, _ parameter: inout Tensor) throws -> Void
    ) rethrows
}

extension Layer {
    /// The parameters with their names, in the order that they are visited.
    public var parameters: [(name: String, value: Tensor)] {
        var copy = self
        var result: [(name: String, value: Tensor)] = []
        copy.visitParameters { name, parameter in result.append((name, parameter)) }
        return result
    }

    /// How many numbers are learned.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.value.elementCount } }

    /// Returns a copy whose parameters are tracked, so that gradients of them can be asked for.
    ///
    /// - Returns: The same layer; its parameters share memory with this one's.
    public func tracked() -> Self {
        var copy = self
        copy.visitParameters { _, parameter in parameter = parameter.tracked() }
        return copy
    }

    /// Returns a copy with other parameters.
    ///
    /// - Parameter values: One per parameter, in the order that they are visited, of the same shapes.
    /// - Returns: The same layer with these parameters.
    public func replacingParameters(with values: [Tensor]) -> Self {
        var copy = self
        var index = 0
        copy.visitParameters { name, parameter in
            require(index < values.count, "There are \(values.count) values, and more parameters.")
            require(
                values[index].shape == parameter.shape,
                "\(name) has shape \(parameter.shape), but its value has \(values[index].shape).")
            parameter = values[index]
            index += 1
        }
        require(index == values.count, "There are \(values.count) values for \(index) parameters.")
        return copy
    }
}

/// Calls `visit` with the parameters of a layer within a layer.
func visitParameters<Inner: Layer>(
    of inner: inout Inner, _ name: String, _ visit: (String, inout Tensor) throws -> Void
) rethrows {
    try inner.visitParameters { try visit("\(name).\($0)", &$1) }
}

/// Calls `visit` with the parameters of layers within a layer, named by their place.
func visitParameters<Inner: Layer>(
    of inner: inout [Inner], _ name: String, _ visit: (String, inout Tensor) throws -> Void
) rethrows {
    for index in inner.indices {
        try inner[index].visitParameters { try visit("\(name).\(index).\($0)", &$1) }
    }
}

/// Calls `visit` with a parameter that may be absent.
func visitParameter(
    _ parameter: inout Tensor?, _ name: String, _ visit: (String, inout Tensor) throws -> Void
) rethrows {
    guard var present = parameter else { return }
    // Given up here, so that it may be written in place.
    parameter = nil
    defer { parameter = present }
    try visit(name, &present)
}
