// What makes a measure's number, such as a temperature, one whose gradient can be asked for.
extension Tensor {
    /// The number of a tensor of one element.
    var onlyElement: Double {
        require(
            elementCount == 1 && elementType.isFloatingPoint,
            "A measure's parameter is one number, not \(elementType) \(shape).")
        return doubles[0]
    }

    /// 1 / x for a tensor of one element.
    var reciprocal: Tensor {
        let value = Tensor(filledWith: 1 / onlyElement, shape: shape, elementType: gradientType)
        // forward: value = 1 / x
        return value.recorded(from: [self]) { gradient, _ in [gradient * value * value * -1] }
    }
}
