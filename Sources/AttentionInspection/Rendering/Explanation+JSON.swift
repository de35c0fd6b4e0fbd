extension Explanation {
    /// Returns the explanation as one JSON object: `model`, `scope`, `unit`, `target` {`index`, `text`}, `words`
    /// [{`text`, `attention`, `attentionWithoutSink`, `contribution`, `effect`, `isSink`, `isVisible`}], `nextWords`
    /// [{`text`, `probability`}], `notes`, `alignment` {`read`, `written`, `weights`} of an encoder–decoder with
    /// attention, and `steps` where a layer and a head were named.
    ///
    /// Where there is no value, the field is `null`. Vectors are whole.
    ///
    /// - Returns: UTF-8 with a line end; keys in alphabetical order.
    /// - Throws: `InspectionError.notFinite` if a number is not finite: JSON has no such numbers.
    public func json() throws(InspectionError) -> String {
        try jsonText()
    }
}
