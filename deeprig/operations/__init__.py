"""Operations and facts that pyinfra lacks."""
